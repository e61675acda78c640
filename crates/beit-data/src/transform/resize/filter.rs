use core::f64::consts::PI;

/// How a picture is resampled. All three widen with the scale when a picture shrinks (antialiasing) and give the very bytes of
/// Pillow 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic convolution with a = -1/2 (Catmull-Rom), support 2.
    Bicubic,
    /// Windowed sinc, support 3.
    Lanczos,
}

impl Filter {
    /// Every filter.
    pub const ALL: [Self; 3] = [Self::Bilinear, Self::Bicubic, Self::Lanczos];

    /// The name in lower case, as configurations have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// Inputs farther away than this have no weight.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight of an input at distance `x`.
    pub(super) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// Cubic convolution of a distance.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x {
        ..1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        1.0..2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}
