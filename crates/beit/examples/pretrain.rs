//! Pre-trains a tiny model without labels, fine-tunes it, and says how good it is.
//!
//! `cargo run --release -p beit --example pretrain -- FOLDER [STEPS [DATA]]`, where the two runs are written to FOLDER and DATA is what
//! `--data` of the command line takes, such as `folder:photos`; without it, Fashion-MNIST.
#![allow(clippy::print_stdout)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::path::Path::new(args.first().ok_or("usage: pretrain FOLDER [STEPS [DATA]]")?);
    let steps = args.get(1).map(|steps| steps.parse()).transpose()?;
    let mut data = beit::DataSettings::default();
    if let Some(images) = args.get(2) {
        data.data.clone_from(images);
    }
    let (device, watch) = (beit::Device::auto()?, beit::Watch::silent());

    let run = beit::RunSettings::in_folder(folder.join("pretrain"));
    let mut settings =
        beit::PretrainSettings { run, data: data.clone(), tokenizer_steps: steps, ..Default::default() };
    settings.training.steps = steps;
    // A trial of few steps takes the tokens as they are then.
    settings.accept_tokenizer = steps.is_some();
    let pretrained = beit::Pretraining::new(settings, &watch)?.run(&device)?;
    println!("{}", pretrained.sentence());

    let mut settings = beit::FinetuneSettings::from_model(pretrained.run);
    settings.run = beit::RunSettings::in_folder(folder.join("finetune"));
    settings.data = data;
    settings.training.steps = steps;
    let finetuned = beit::Finetuning::new(settings, &watch)?.run(&device)?;
    println!("{}", finetuned.sentence());
    Ok(())
}
