//! How alike images are to the first of them, by the features of a model that never saw a label.
//!
//! `cargo run --release -p beit --example embed -- MODEL IMAGE...`
#![allow(clippy::print_stdout)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, images @ ..] = &args[..] else { return Err("usage: embed MODEL IMAGE...".into()) };
    let embedder = beit::Embedder::open(model, beit::Device::auto()?)?;
    let mut first = None;
    for path in images {
        let features = embedder.embed(&beit::Image::open(path)?)?;
        println!("{:.4}  {path}", cosine(first.get_or_insert_with(|| features.clone()), &features));
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
