//! Tensors against goldens.

/// Collects comparisons and fails with all that are out of tolerance.
pub struct Comparison {
    title: String,
    failures: Vec<String>,
    worst: Vec<(String, f64)>,
}

impl Comparison {
    /// Nothing compared yet. `title` says what is compared, for messages.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), failures: Vec::new(), worst: Vec::new() }
    }

    /// Compares two tensors: the greatest difference, relative to the greatest magnitude of `want`.
    pub fn tensor(&mut self, name: &str, got: &[f32], want: &[f32], allowed: f64) {
        if got.len() != want.len() {
            return self.failures.push(format!("{name}: {} elements, want {}", got.len(), want.len()));
        }
        let scale = want.iter().fold(f64::MIN_POSITIVE, |max, &x| max.max(f64::from(x).abs()));
        let (mut worst, mut at) = (0.0, 0);
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            let error = (f64::from(got) - f64::from(want)).abs() / scale;
            let error = if error.is_nan() { f64::INFINITY } else { error };
            if error > worst {
                (worst, at) = (error, i);
            }
        }
        self.record(name, worst);
        if worst > allowed {
            let (got, want) = (got[at], want[at]);
            self.failures.push(format!(
                "{name}[{at}]: got {got:e}, want {want:e}, relative {worst:.1e} > {allowed:.0e}"
            ));
        }
    }

    /// Compares names.
    pub fn names(&mut self, mut got: Vec<String>, mut want: Vec<String>) {
        got.sort();
        want.sort();
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|x| !b.contains(x)).cloned().collect::<Vec<_>>();
        if got != want {
            let (ours, theirs) = (only(&got, &want), only(&want, &got));
            self.failures.push(format!("only in ours: {ours:?}, only in the golden: {theirs:?}"));
        }
    }

    /// Keeps the worst error of all tensors whose names begin alike.
    fn record(&mut self, name: &str, error: f64) {
        let kind = name.split('.').next().unwrap_or(name);
        match self.worst.iter_mut().find(|(known, _)| known == kind) {
            Some((_, worst)) => *worst = worst.max(error),
            None => self.worst.push((kind.to_owned(), error)),
        }
    }

    /// Reports the worst errors, which the test harness shows with `--nocapture`.
    ///
    /// # Panics
    ///
    /// If anything was out of tolerance.
    #[expect(clippy::print_stdout, reason = "the report of a test")]
    pub fn finish(self) {
        let worst: Vec<String> =
            self.worst.iter().map(|(kind, error)| format!("{kind} {error:.1e}")).collect();
        println!("{}: {}", self.title, worst.join(", "));
        assert!(self.failures.is_empty(), "{}:\n{}", self.title, self.failures.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(got: &[f32], want: &[f32]) -> Vec<String> {
        let mut comparison = Comparison::new("test");
        comparison.tensor("x", got, want, 1e-3);
        comparison.failures
    }

    #[test]
    fn what_differs_is_named() {
        assert!(compare(&[1.0005, 0.0], &[1.0, 0.0]).is_empty());
        assert!(compare(&[0.0], &[0.0]).is_empty());
        assert_eq!(compare(&[1.0, 0.002], &[1.0, 0.0]), ["x[1]: got 2e-3, want 0e0, relative 2.0e-3 > 1e-3"]);
        assert_eq!(compare(&[f32::NAN, 1.0], &[1.0, 1.0]).len(), 1);
        assert_eq!(compare(&[1.0], &[1.0, 1.0]).len(), 1);
        let mut comparison = Comparison::new("test");
        comparison.names(vec!["a".into()], vec!["b".into()]);
        assert_eq!(comparison.failures.len(), 1);
    }
}
