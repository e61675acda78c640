//! The images.

use super::Finding;
use crate::error::Result;
use crate::progress::Watch;
use crate::settings::DataSettings;
use crate::survey::Survey;
use beit_data::Split;

const PART: &str = "data";

/// Opens the training images and looks at some of them.
pub(super) fn look(data: &DataSettings, sample: usize, watch: &Watch) -> Result<Survey> {
    let source = data.open_once(Split::Train)?;
    watch.notes_of(source.as_ref());
    Ok(Survey::of(source.as_ref(), sample))
}

/// What is wrong with data that cannot even be opened.
pub(super) fn unopened(data: &DataSettings, problem: &str) -> Finding {
    Finding::problem(
        PART,
        format!("--data {}: {problem}", data.data),
        "give images that are there (docs/guide.md, Data)",
    )
}

pub(super) fn findings(survey: &Survey, data: &DataSettings, labelled: bool) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(PART, format!("{}: {}", data.data, survey.sentence()))];
    findings.push(classes(survey, labelled));
    findings.push(splits(data, labelled));
    findings.extend(undecodable(survey, data));
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    if survey.tiny > 0 {
        let found = format!(
            "{} of {} pictures are tiny, such as {}",
            survey.tiny,
            survey.looked_at,
            first(&survey.tiny_first)
        );
        findings.push(Finding::note(PART, found, "remove icons and thumbnails"));
    }
    if let Some([one, other]) = survey.duplicates_first.first() {
        let found = format!(
            "{} of {} pictures are there twice, such as {one} and {other}",
            survey.duplicates, survey.looked_at
        );
        findings.push(Finding::note(
            PART,
            found,
            "remove copies, which count double and may stand in two splits",
        ));
    }
    if survey.most_aspect > 4.0 {
        let found = format!("a picture is {:.1} times as long as it is wide", survey.most_aspect);
        findings.push(Finding::note(PART, found, "crops see a small part of such pictures: cut them up"));
    }
    findings
}

fn classes(survey: &Survey, labelled: bool) -> Finding {
    match (labelled, survey.classes) {
        (true, classes @ (0 | 1)) => Finding::problem(
            PART,
            format!("{classes} classes: nothing can be told apart"),
            "put the pictures of each class into a folder of its own",
        ),
        (_, classes) => Finding::ok(PART, format!("{classes} classes")),
    }
}

/// Whether something is held out.
fn splits(data: &DataSettings, labelled: bool) -> Finding {
    match data.open_once(Split::Test) {
        Ok(source) => Finding::ok(PART, format!("{} test images", source.len())),
        Err(error) if labelled => Finding::note(
            PART,
            format!("no test images: {error}"),
            "add a folder of test images, or give --validation 0.2",
        ),
        Err(_) => Finding::note(
            PART,
            "no test images: tokens are judged by those that are learnt from",
            "add a folder of test images",
        ),
    }
}

fn undecodable(survey: &Survey, data: &DataSettings) -> Option<Finding> {
    let first = survey.undecodable_first.first()?;
    let found = format!(
        "{} of {} pictures cannot be decoded ({:.1} %), such as {first}",
        survey.undecodable,
        survey.looked_at,
        100.0 * survey.bad_share()
    );
    Some(match survey.bad_share() > data.max_bad_share {
        true => Finding::problem(
            PART,
            found,
            format!("mend or remove them, since a run stops beyond --max-bad-share {}", data.max_bad_share),
        ),
        false => Finding::note(PART, found, "they are left out; mend or remove them"),
    })
}
