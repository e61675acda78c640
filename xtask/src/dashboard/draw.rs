//! How a dashboard looks.

use super::state::State;
use crate::output::pace;
use beit::StepReport;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};

/// Lines of numbers, and of the frames around them.
const NUMBERS: u16 = 4;
/// Fewer lines show no curve.
const LEAST_CURVE: u16 = 6;

/// Curves above, then numbers, how far it is, and the last notes.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let curves = if frame.area().height < NUMBERS + 3 + LEAST_CURVE {
        Constraint::Length(0)
    } else {
        Constraint::Fill(3)
    };
    let parts = [curves, Constraint::Length(NUMBERS), Constraint::Length(3), Constraint::Fill(2)];
    let [curves, numbers, gauge, notes] = Layout::vertical(parts).areas(frame.area());
    draw_curves(frame, curves, state);
    let block = Block::bordered().title(format!(" {} ", state.phase));
    frame.render_widget(Paragraph::new(words(state)).block(block).wrap(Wrap { trim: true }), numbers);
    let (share, label) = state.progress();
    let gauge_style = Style::default().fg(Color::Green);
    frame.render_widget(
        Gauge::default().block(Block::bordered()).ratio(share).label(label).gauge_style(gauge_style),
        gauge,
    );
    draw_notes(frame, notes, state);
}

fn draw_curves(frame: &mut Frame<'_>, area: Rect, state: &State) {
    if area.height < LEAST_CURVE {
        return;
    }
    if state.accuracy.is_empty() {
        return curve(frame, area, "loss", &state.loss);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
    curve(frame, left, "loss", &state.loss);
    curve(frame, right, "accuracy", &state.accuracy);
}

fn curve(frame: &mut Frame<'_>, area: Rect, name: &str, points: &[(f64, f64)]) {
    let [x, y] = [bounds(points.iter().map(|point| point.0)), bounds(points.iter().map(|point| point.1))];
    let data = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::default().fg(Color::Cyan))
        .data(points);
    let [steps, values] = [x.map(|step| format!("{step:.0}")), y.map(|value| format!("{value:.3}"))];
    let chart = Chart::new(vec![data])
        .block(Block::bordered().title(format!(" {name} ")))
        .x_axis(Axis::default().bounds(x).labels(steps))
        .y_axis(Axis::default().bounds(y).labels(values));
    frame.render_widget(chart, area);
}

/// From the least to the greatest; never nothing.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [least, greatest] =
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], value| [a.min(value), b.max(value)]);
    match (least.is_finite(), greatest > least) {
        (false, _) => [0.0, 1.0],
        (true, false) => [least - 0.5, least + 0.5],
        (true, true) => [least, greatest],
    }
}

/// The newest numbers, in two lines.
fn words(state: &State) -> Vec<Line<'static>> {
    let Some(report) = &state.report else { return vec![Line::from("nothing is measured yet")] };
    let StepReport { loss, accuracy, lr, epoch, extra, .. } = report;
    let mut first = format!("loss {loss:.3}");
    if let Some(accuracy) = accuracy {
        first += &format!("  accuracy {accuracy:.3}");
    }
    extra.iter().for_each(|(name, value)| first += &format!("  {name} {value:.3}"));
    vec![Line::from(first), Line::from(format!("rate {lr:.2e}  epoch {epoch}  {}", pace(report)))]
}

/// The last of them that fit, each cut at the edge.
fn draw_notes(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let block = Block::bordered().title(" notes ").title_bottom(" Ctrl-C saves and ends ");
    let room = usize::from(block.inner(area).height);
    let notes = state.notes();
    let last = notes[notes.len().saturating_sub(room)..].iter().map(|note| Line::from(note.as_str()));
    frame.render_widget(Paragraph::new(last.collect::<Vec<_>>()).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit::Task;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// What stands on a terminal of these sides, a text a line.
    fn drawn([width, height]: [u16; 2], state: &State) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(line).collect()
    }

    fn state() -> State {
        let mut state = State::default();
        state.begin(&Task::Train { phase: "pretrain", done: 0, total: 400 });
        for step in (50..=200_u32).step_by(50) {
            let loss = 5.0 - f64::from(step) / 100.0;
            state.report(&StepReport {
                phase: "pretrain",
                step: step.into(),
                total: 400,
                loss,
                accuracy: Some(f64::from(step) / 1000.0),
                lr: 1.5e-3,
                images_per_second: 61.0,
                data_wait: 0.25,
                extra: [("gap", 0.125)].into(),
                ..StepReport::default()
            });
            state.note(&format!("note of step {step}"));
        }
        state.done(200);
        state
    }

    #[test]
    fn curves_numbers_progress_and_notes_are_there() {
        let lines = drawn([80, 24], &state());
        let all = lines.join("\n");
        let wants = [
            " loss ",
            " accuracy ",
            " pretrain ",
            "4.500",
            "3.000",
            "0.200",
            "loss 3.000  accuracy 0.200  gap 0.125",
            "rate 1.50e-3  epoch 0  61 images/s, 25 % waiting for data",
            "200/400 steps",
            "left",
            "note of step 200",
            "Ctrl-C saves and ends",
        ];
        wants.iter().for_each(|want| assert!(all.contains(want), "expected `{want}` in\n{all}"));
        // Braille: a line falls on the left, and another rises on the right.
        let has_dots = |line: &String, from, to| {
            line.chars().skip(from).take(to - from).any(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
        };
        assert!(
            lines.iter().any(|line| has_dots(line, 0, 40)) && lines.iter().any(|line| has_dots(line, 40, 80)),
            "{all}"
        );
        let mut plain = state();
        plain.accuracy.clear();
        assert!(
            !drawn([80, 24], &plain).join("\n").contains(" accuracy ─"),
            "nothing is drawn of what is not measured"
        );
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        let mut images = state();
        images.begin(&Task::Images { total: 80 });
        images.done(20);
        for sides in [[1, 1], [3, 40], [200, 2], [20, 8], [80, 12], [300, 90]] {
            for state in [&State::default(), &state(), &images] {
                drawn(sides, state);
            }
        }
        assert!(drawn([80, 24], &images).join("\n").contains("20/80 images"));
        let low = drawn([80, 12], &state()).join("\n");
        assert!(
            !low.contains("4.500") && low.contains("200/400 steps") && low.contains("note of step 200"),
            "{low}"
        );
    }

    #[test]
    fn bounds_are_never_nothing() {
        assert_eq!(bounds([].into_iter()), [0.0, 1.0]);
        assert_eq!(bounds([2.0].into_iter()), [1.5, 2.5]);
        assert_eq!(bounds([2.0, -1.0].into_iter()), [-1.0, 2.0]);
    }
}
