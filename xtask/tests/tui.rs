//! `--tui`: the terminal is taken while a run trains, and given back at every end.

use crate::common::{Place, SHORT, short_of_whole_pictures};

#[test]
fn without_a_terminal_there_are_lines() {
    let place = Place::with_photos();
    let outcome = place.good(&format!("pretrain {SHORT} --report-every 1 --tui --out run"));
    let said = |part: &str| outcome.stderr.matches(part).count();
    assert_eq!(said("--tui: standard error is no terminal; lines follow"), 1, "{outcome}");
    assert_eq!((said("\npretrain 2/2, "), said("\u{1b}")), (1, 0), "{outcome}");
}

/// Of util-linux is the program that gives a process a terminal.
#[cfg(target_os = "linux")]
mod on_a_terminal {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    const TAKEN: &str = "\u{1b}[?1049h";
    const GIVEN_BACK: &str = "\u{1b}[?1049l";

    /// How a command line ended on a terminal of 100x30, and what it wrote to standard output and to the terminal. `seen` is given what
    /// stands there so far, whenever there is more, and may press keys.
    fn run(
        place: &Place,
        args: &str,
        mut seen: impl FnMut(&str, &mut File),
    ) -> (Option<i32>, String, String) {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let own = || File::options().read(true).write(true).open(&name).unwrap();
        let (keys, before) = (own(), tcgetattr(&terminal).unwrap().local_modes);
        let command = place.command(args);
        let mut child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(place.path(""))
            .stdin(Stdio::from(own()))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(own()))
            .spawn()
            .unwrap();
        drop(keys);
        let (mut terminal, mut all, mut silent, mut bytes) =
            (File::from(terminal), String::new(), false, [0; 4096]);
        // The end of a terminal that nobody has open is an error.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            all += &String::from_utf8_lossy(&bytes[..count]);
            silent |= tcgetattr(&terminal).is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ECHO));
            seen(&all, &mut terminal);
        }
        let mut answer = String::new();
        child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        let code = child.wait().unwrap().code();
        assert!(silent, "keys would be written over the page\n{all}");
        assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before, "{all}");
        (code, answer, all)
    }

    /// What stands on the terminal before, while, and after it is taken.
    fn parts(all: &str) -> [&str; 3] {
        assert_eq!((all.matches(TAKEN).count(), all.matches(GIVEN_BACK).count()), (1, 1), "{all}");
        let (before, rest) = all.split_once(TAKEN).unwrap();
        let (page, after) = rest.split_once(GIVEN_BACK).unwrap();
        assert!(after.contains("\u{1b}[?25h"), "the cursor is shown again\n{all}");
        [before, page, after]
    }

    #[test]
    fn what_was_there_is_there_again() {
        let place = Place::with_photos();
        let args = format!("pretrain {} --report-every 1 --tui --out run", short_of_whole_pictures());
        let (code, answer, all) = run(&place, &args, |_, _| ());
        assert_eq!(code, Some(0), "{all}");
        assert!(answer.contains("checkpoint: run/checkpoints/step-0000002"), "{answer}");
        let [before, page, after] = parts(&all);
        assert!(before.contains("run folder: run"), "{before}");
        // Cells that do not change are not written, as those between words.
        for part in ["loss", "accuracy", "notes", "steps,", "Ctrl-C"] {
            assert!(page.contains(part), "expected `{part}` in {page}");
        }
        // What was said in it is said again in lines.
        for part in ["measuring the tokenizer on 24 test images", "pretrain 2/2  loss "] {
            assert_eq!(after.matches(part).count(), 1, "{after}");
        }
        // Two steps of the tokenizer, two of the model, and the answer.
        let reports = format!("{args} --overwrite --json");
        let (code, answer, all) = run(&place, &reports, |_, _| ());
        assert_eq!(
            (code, answer.lines().filter(|line| line.starts_with('{')).count()),
            (Some(0), 5),
            "{all}"
        );
    }

    /// Once it saves, twice it ends at once; how far it came by the second is not known.
    #[test]
    fn ctrl_c_gives_the_terminal_back() {
        let place = Place::with_photos();
        let long = SHORT.replace("--steps 2", "--steps 5000");
        for presses in [1, 2] {
            let (run_folder, mut left) = (format!("run-{presses}"), presses);
            let args = format!("pretrain {long} --report-every 1 --tui --out {run_folder}");
            let (code, answer, all) = run(&place, &args, |all, terminal| {
                if left > 0 && all.contains("gap") {
                    terminal.write_all(&vec![3; left]).unwrap();
                    left = 0;
                }
            });
            assert_eq!((code, answer.as_str()), (Some(130), ""), "{all}");
            let [_, _, after] = parts(&all);
            if presses == 1 {
                assert!(after.contains("steps of pretrain are saved in run-1/checkpoints/"), "{after}");
            }
        }
    }
}
