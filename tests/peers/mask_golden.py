"""Block-wise masks from a second implementation, for crates/beit-mask/tests/golden.rs.

Written from the description of the released BEiT generator, in Python, whose float arithmetic and half-to-even rounding
are the released code's own. Random numbers come from SplitMix64, one 64-bit word per draw, so that the Rust test can
consume the very same ones: uniform(a, b) = a + (b - a) * u, randint(0, n) = floor((n + 1) * u), u = (word >> 11) / 2**53.

Usage: python mask_golden.py > ../../crates/beit-mask/tests/goldens/block_wise.csv
"""

import math

WORD = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def word(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & WORD
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        return z ^ (z >> 31)

    def unit(self):
        return (self.word() >> 11) / (1 << 53)

    def uniform(self, a, b):
        return a + (b - a) * self.unit()

    def below(self, n):
        return int(n * self.unit())


class Generator:
    def __init__(self, rows, cols, target, least, most, low, high):
        self.rows, self.cols, self.target = rows, cols, target
        self.least = least
        self.most = target if most is None else most
        self.log_aspect = (math.log(low), math.log(high))

    def step(self, rng, mask, limit):
        for _ in range(10):
            area = rng.uniform(self.least, limit)
            aspect = math.exp(rng.uniform(*self.log_aspect))
            h = int(round(math.sqrt(area * aspect)))
            w = int(round(math.sqrt(area / aspect)))
            if not (w < self.cols and h < self.rows):
                continue
            top, left = rng.below(self.rows - h + 1), rng.below(self.cols - w + 1)
            cells = [(r, c) for r in range(top, top + h) for c in range(left, left + w)]
            new = [cell for cell in cells if cell not in mask]
            if 0 < len(new) <= limit:
                mask.update(new)
                return len(new)
        return 0

    def mask(self, rng):
        mask, blocks = set(), 0
        while len(mask) < self.target:
            if self.step(rng, mask, min(self.target - len(mask), self.most)) == 0:
                break
            blocks += 1
        return mask, blocks

    def top_up(self, rng, mask):
        free = self.rows * self.cols - len(mask)
        for cell in [(r, c) for r in range(self.rows) for c in range(self.cols)]:
            if cell in mask:
                continue
            missing = self.target - len(mask)
            if missing == 0:
                break
            if rng.below(free) < missing:
                mask.add(cell)
            free -= 1


CASES = [
    (14, 14, 75, 16, None, 0.3, 1 / 0.3, 40),
    (7, 7, 19, 4, None, 0.3, 1 / 0.3, 20),
    (24, 24, 220, 47, None, 0.3, 1 / 0.3, 10),
    (14, 14, 118, 16, 30, 0.3, 1 / 0.3, 10),
    (6, 20, 50, 5, 12, 0.2, 2.0, 20),
    (14, 14, 40, 1, None, 0.1, 10.0, 20),
]

print("rows,cols,target,min_cells,max_cells,aspect_low,aspect_high,seed,blocks,block_wise,exact")
for number, (rows, cols, target, least, most, low, high, masks) in enumerate(CASES):
    generator = Generator(rows, cols, target, least, most, low, high)
    for index in range(masks):
        seed = 1000 * number + index
        rng = SplitMix64(seed)
        mask, blocks = generator.mask(rng)
        bits = lambda: "".join("1" if (r, c) in mask else "0" for r in range(rows) for c in range(cols))
        block_wise = f"{int(bits(), 2):x}"
        generator.top_up(rng, mask)
        most_text = "" if most is None else most
        print(f"{rows},{cols},{target},{least},{most_text},{low!r},{high!r},{seed},{blocks},{block_wise},{int(bits(), 2):x}")
