//! Copies of the buffers of a launch, with guard zones around them.

use crate::Buffer;

/// Alignment of allocations on a device.
const ALIGN: usize = 512;
/// Bytes before and after a buffer that no kernel may write. Reading them gives NaN.
const GUARD: usize = 4096;
const PATTERN: u8 = 0xff;

/// Buffers that overlap are copied together.
pub(super) struct Copies<'a> {
    buffers: &'a [Buffer],
    parts: Vec<Part>,
}

/// A range of an allocation.
struct Part {
    allocation: usize,
    begin: usize,
    end: usize,
    /// Offset in `bytes` of the byte at `begin`.
    at: usize,
    bytes: Vec<u8>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(buffers: &'a [Buffer]) -> Self {
        let mut ranges: Vec<_> = buffers.iter().map(|b| (b.allocation, b.range.start, b.range.end)).collect();
        ranges.sort_unstable();
        let mut parts: Vec<Part> = Vec::new();
        for (allocation, begin, end) in ranges {
            match parts.last_mut() {
                Some(last) if last.allocation == allocation && begin < last.end => {
                    last.end = last.end.max(end)
                }
                _ => parts.push(Part { allocation, begin, end, at: 0, bytes: Vec::new() }),
            }
        }
        parts.iter_mut().for_each(Part::allocate);
        let mut copies = Self { buffers, parts };
        for buffer in buffers {
            let at = copies.place(buffer);
            let part = &mut copies.parts[at.0];
            part.bytes[at.1..at.1 + buffer.range.len()]
                .copy_from_slice(&buffer.memory.read()[..buffer.range.len()]);
        }
        copies
    }

    /// Part and offset of a buffer.
    fn place(&self, buffer: &Buffer) -> (usize, usize) {
        let inside = |p: &Part| {
            p.allocation == buffer.allocation && p.begin <= buffer.range.start && buffer.range.end <= p.end
        };
        let i = self.parts.iter().position(inside).expect("every buffer has a part");
        (i, self.parts[i].at + buffer.range.start - self.parts[i].begin)
    }

    /// What the kernel gets.
    pub(super) fn pointers(&mut self) -> Vec<*mut u8> {
        let places: Vec<_> = self.buffers.iter().map(|b| self.place(b)).collect();
        let bases: Vec<_> = self.parts.iter_mut().map(|p| p.bytes.as_mut_ptr()).collect();
        places.into_iter().map(|(part, at)| bases[part].wrapping_add(at)).collect()
    }

    /// An error where a guard zone was written.
    pub(super) fn untouched(&self) -> Result<(), String> {
        for (i, buffer) in self.buffers.iter().enumerate() {
            if let Some(offset) = self.parts[self.place(buffer).0].touched() {
                return Err(format!("buffer {i} of {} bytes: byte {offset} is written", buffer.range.len()));
            }
        }
        Ok(())
    }

    /// An error where the bytes are others than those of another run.
    pub(super) fn agrees_with(&self, other: &Self) -> Result<(), String> {
        for (i, buffer) in self.buffers.iter().enumerate() {
            let (here, there) = (self.bytes(buffer), other.bytes(buffer));
            if here != there {
                let at = here.iter().zip(there).position(|(a, b)| a != b).unwrap_or_default();
                return Err(format!("buffer {i} of {} bytes: byte {at} differs from run to run", here.len()));
            }
        }
        Ok(())
    }

    fn bytes(&self, buffer: &Buffer) -> &[u8] {
        let (part, at) = self.place(buffer);
        &self.parts[part].bytes[at..at + buffer.range.len()]
    }

    /// Writes the results back.
    pub(super) fn finish(self) {
        for buffer in self.buffers {
            let (to, _) = buffer.memory.get_write_ptr_and_length();
            // SAFETY: the resource is alive as long as its launch, at least as long as its range, and borrowed by nothing else.
            let to = unsafe { std::slice::from_raw_parts_mut(to, buffer.range.len()) };
            to.copy_from_slice(self.bytes(buffer));
        }
    }
}

impl Part {
    fn allocate(&mut self) {
        let length = self.end - self.begin;
        self.bytes = vec![PATTERN; length + 2 * GUARD + 2 * ALIGN];
        // The address is as far from a multiple of the alignment as it is on the device.
        let first = self.bytes.as_ptr() as usize + GUARD;
        self.at = GUARD + (self.begin % ALIGN + ALIGN - first % ALIGN) % ALIGN;
    }

    /// Where, relative to the range, a guard zone was written.
    fn touched(&self) -> Option<isize> {
        let length = self.end - self.begin;
        let before = self.bytes[..self.at].iter().rposition(|&b| b != PATTERN);
        let after = self.bytes[self.at + length..].iter().position(|&b| b != PATTERN);
        let before = before.map(|i| i as isize - self.at as isize);
        before.or(after.map(|i| (length + i) as isize))
    }
}
