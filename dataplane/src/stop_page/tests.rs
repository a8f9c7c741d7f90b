//! Two mappings of one file are two processes as far as the page is concerned; where a process has
//! to die, a real one does.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::*;

const NONE: [&str; 0] = [];

/// Data cores, the control thread and the signal handler share one page.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<StopPage>();
};

/// A state directory of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(dir)
    }

    fn page(&self) -> PathBuf {
        self.0.path().join("stop")
    }

    fn start(&self, classes: &[&str], state: StopWord) -> Result<StopPage, StopPageError> {
        StopPage::create_or_open(&self.page(), "gw1", &["XCME", "XEUR"], classes, state)
    }

    fn running(&self) -> StopPage {
        self.start(&["orders", "cancels"], StopWord::Running).unwrap()
    }

    fn direct(&self) -> StopPage {
        StopPage::open_existing(&self.page()).unwrap()
    }
}

fn class(name: &str) -> Scope {
    Scope::Class(name.to_owned())
}

fn venue(name: &str) -> Scope {
    Scope::Venue(name.to_owned())
}

fn words(page: &StopPage) -> StopWords {
    let mut raw = RawWords::default();
    page.snapshot(&mut raw);
    page.decode(&raw)
}

mod scope {
    use super::*;

    #[test]
    fn reads_as_it_is_written() {
        for text in ["all", "venue:XCME", "class:fix:a"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "ALL", "venue:", "class", "port:1", "all:x"] {
            assert_eq!(text.parse::<Scope>(), Err(BadScope(text.to_owned())));
        }
    }
}

mod words_of_a_running_gateway {
    use super::*;

    #[test]
    fn are_seen_by_every_mapping_at_the_next_snapshot() {
        let place = Place::new();
        let gateway = place.running();
        let mut last = RawWords::default();
        assert!(!gateway.snapshot(&mut last), "a page that runs equals the default snapshot");
        assert_eq!(gateway.decode(&last), StopWords::default());

        place.direct().set(&class("cancels"), StopWord::Halt).unwrap();
        assert!(gateway.snapshot(&mut last));
        assert!(!gateway.snapshot(&mut last));
        let seen = gateway.decode(&last);
        assert_eq!((seen.classes[0], seen.classes[1]), (StopWord::Running, StopWord::Halt));

        place.direct().set(&venue("XEUR"), StopWord::Passthrough).unwrap();
        assert!(gateway.snapshot(&mut last));
        assert_eq!(gateway.decode(&last).of(0, Some(1)), StopWord::Passthrough);
        assert_eq!(gateway.decode(&last).of(1, Some(1)), StopWord::Halt);
    }

    #[test]
    fn passthrough_never_lowers_a_halt() {
        let place = Place::new();
        let page = place.running();
        for scope in [Scope::All, venue("XCME"), class("orders")] {
            page.set(&scope, StopWord::Halt).unwrap();
            let change = page.set(&scope, StopWord::Passthrough).unwrap();
            assert_eq!((change.before, change.after), (StopWord::Halt, StopWord::Halt));
        }
        page.passthrough_all();
        assert_eq!(words(&page).all, StopWord::Halt);
        page.resume(&Scope::All).unwrap();
        page.passthrough_all();
        assert_eq!(words(&page).all, StopWord::Passthrough);
        assert_eq!(words(&page).classes[0], StopWord::Halt);
    }

    #[test]
    fn a_resume_clears_its_scope_and_says_what_still_holds_it() {
        let place = Place::new();
        let page = place.running();
        page.set(&Scope::All, StopWord::Passthrough).unwrap();
        page.set(&venue("XCME"), StopWord::Halt).unwrap();
        page.set(&class("orders"), StopWord::Halt).unwrap();
        page.set(&class("cancels"), StopWord::Halt).unwrap();

        let reply = page.resume(&class("orders")).unwrap();
        assert_eq!(reply.change.before, StopWord::Halt);
        assert_eq!(reply.change.after, StopWord::Running);
        let held = [(Scope::All, StopWord::Passthrough), (venue("XCME"), StopWord::Halt)];
        assert_eq!(reply.still_held, held, "another class does not hold it");

        let reply = page.resume(&venue("XEUR")).unwrap();
        let held = [(Scope::All, StopWord::Passthrough), (class("cancels"), StopWord::Halt)];
        assert_eq!(reply.still_held, held, "another venue does not hold it");

        let reply = page.resume(&Scope::All).unwrap();
        let held = [(venue("XCME"), StopWord::Halt), (class("cancels"), StopWord::Halt)];
        assert_eq!(reply.still_held, held);
        assert_eq!(words(&page).of(0, None), StopWord::Running);
        assert_eq!(words(&page).of(0, Some(0)), StopWord::Halt);
    }

    #[test]
    fn an_unknown_scope_is_answered_with_the_known_ones() {
        let refused = Place::new().running().set(&class("order"), StopWord::Halt).unwrap_err();
        let text = refused.to_string();
        assert_eq!(
            text,
            "no scope class:order; there are: all, venue:XCME, venue:XEUR, class:orders, \
             class:cancels"
        );
    }

    #[test]
    fn an_unknown_byte_reads_as_halt() {
        let place = Place::new();
        let page = place.running();
        let mut bytes = fs::read(place.page()).unwrap();
        bytes[128 + FIRST_CLASS] = 9;
        let mut file = OpenOptions::new().write(true).open(place.page()).unwrap();
        file.write_all(&bytes).unwrap();
        assert_eq!(words(&page).classes[0], StopWord::Halt);
    }

    #[test]
    fn equal_names_share_one_word() {
        let place = Place::new();
        let page = place.start(&["non_ip", "orders", "non_ip"], StopWord::Running).unwrap();
        page.set(&class("non_ip"), StopWord::Halt).unwrap();
        let seen = words(&page).classes;
        assert_eq!(seen[..3], [StopWord::Halt, StopWord::Running, StopWord::Halt]);
        assert_eq!(page.describe().words.len(), 1 + 2 + 2);
    }

    #[test]
    fn no_writer_loses_the_word_of_another() {
        let place = Place::new();
        let names: Vec<String> = (0..CLASSES_MAX).map(|k| format!("class-{k}")).collect();
        let gateway =
            StopPage::create_or_open(&place.page(), "gw1", &NONE, &names, StopWord::Running)
                .unwrap();
        // Eight bytes of one u64 and their neighbours, each toggled by a thread with a mapping of
        // its own; the last write of each is known.
        std::thread::scope(|threads| {
            for (k, name) in names.iter().enumerate() {
                let place = &place;
                threads.spawn(move || {
                    let page = place.direct();
                    for round in 0..200 {
                        let word = StopWord::from_u8(((round + k) % 3) as u8);
                        page.resume(&class(name)).unwrap();
                        let change = page.set(&class(name), word).unwrap();
                        assert_eq!((change.before, change.after), (StopWord::Running, word));
                    }
                });
            }
        });
        let seen = words(&gateway);
        for k in 0..CLASSES_MAX {
            assert_eq!(seen.classes[k], StopWord::from_u8(((199 + k) % 3) as u8), "class {k}");
        }
        assert_eq!((seen.all, seen.venues), (StopWord::Running, StopWords::default().venues));
    }
}

mod start {
    use super::*;

    #[test]
    fn sets_what_was_not_halted_to_the_start_state() {
        for state in [StopWord::Running, StopWord::Passthrough, StopWord::Halt] {
            let place = Place::new();
            let first = place.running();
            first.set(&class("orders"), StopWord::Halt).unwrap();
            first.set(&class("cancels"), StopWord::Passthrough).unwrap();
            first.set(&venue("XCME"), StopWord::Passthrough).unwrap();
            first.passthrough_all();
            drop(first);
            let seen = words(&place.start(&["orders", "cancels"], state).unwrap());
            assert_eq!(seen.all, state);
            assert_eq!(seen.of(0, None), StopWord::Halt);
            assert_eq!(seen.of(1, Some(0)), state);
        }
    }

    #[test]
    fn keeps_a_halt_of_everything_whatever_the_start_state() {
        let place = Place::new();
        drop(place.start(&["orders"], StopWord::Halt).unwrap());
        let again = place.start(&["orders"], StopWord::Running).unwrap();
        assert_eq!(words(&again).all, StopWord::Halt);
        again.resume(&Scope::All).unwrap();
        drop(again);
        assert_eq!(
            words(&place.start(&["orders"], StopWord::Running).unwrap()).all,
            StopWord::Running
        );
    }

    #[test]
    fn finds_halts_by_name_when_the_config_is_rearranged() {
        let place = Place::new();
        place.running().set(&class("orders"), StopWord::Halt).unwrap();
        // A mapping from before the restart still reaches the same scopes.
        let old = place.direct();
        let page = place.start(&["new", "quotes", "orders"], StopWord::Running).unwrap();
        let seen = words(&page).classes;
        assert_eq!(seen[..3], [StopWord::Running, StopWord::Running, StopWord::Halt]);
        old.set(&class("new"), StopWord::Halt).unwrap();
        old.resume(&class("orders")).unwrap();
        let seen = words(&page).classes;
        assert_eq!(seen[..3], [StopWord::Halt, StopWord::Running, StopWord::Running]);
    }

    #[test]
    fn has_room_for_all_names_however_often_they_change() {
        let place = Place::new();
        for round in 0..5 {
            let names: Vec<String> = (0..CLASSES_MAX).map(|k| format!("r{round}-{k}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let page = place.start(&names, StopWord::Running).unwrap();
            page.set(&class(names[7]), StopWord::Passthrough).unwrap();
            page.set(&class(names[9]), StopWord::Halt).unwrap();
            let seen = words(&page).classes;
            assert_eq!(seen.iter().filter(|w| **w != StopWord::Running).count(), 2);
            assert_eq!((seen[7], seen[9]), (StopWord::Passthrough, StopWord::Halt));
            page.resume(&class(names[9])).unwrap();
        }
    }

    #[test]
    fn is_refused_when_a_halted_name_is_gone() {
        let place = Place::new();
        let page = place.running();
        page.set(&class("orders"), StopWord::Halt).unwrap();
        page.set(&venue("XCME"), StopWord::Halt).unwrap();
        drop(page);
        let open = |classes: &[&str]| {
            StopPage::create_or_open(&place.page(), "gw1", &["XEUR"], classes, StopWord::Halt)
        };
        let text = open(&["cancels"]).unwrap_err().to_string();
        assert!(text.contains("venue:XCME, class:orders halted"), "{text}");
        assert!(text.contains("`wirepace resume --scope class:orders --direct`"), "{text}");
        // The refusal changed nothing, and what it says to do works.
        place.direct().resume(&venue("XCME")).unwrap();
        assert!(open(&["cancels"]).is_err());
        place.direct().resume(&class("orders")).unwrap();
        assert!(open(&["cancels"]).is_ok());
        assert_eq!(place.direct().describe().words.len(), 3);
    }

    #[test]
    fn is_refused_while_the_instance_runs() {
        let place = Place::new();
        let first = place.running();
        let text = place.start(&["other"], StopWord::Running).unwrap_err().to_string();
        assert!(text.contains("runs already"), "{text}");
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
        assert!(first.set(&class("orders"), StopWord::Halt).is_ok(), "its names were not touched");
        drop(first);
        assert!(place.start(&["orders"], StopWord::Running).is_ok());
    }

    #[test]
    fn names_that_have_no_room_are_refused() {
        let place = Place::new();
        let many: Vec<String> = (0..=VENUES_MAX).map(|k| k.to_string()).collect();
        let open = |venues: &[String]| {
            StopPage::create_or_open(&place.page(), "gw1", venues, &NONE, StopWord::Halt)
        };
        assert!(matches!(open(&many), Err(StopPageError::TooMany { count: 17, max: 16, .. })));
        let most = "v".repeat(63);
        for bad in [String::new(), "v".repeat(64), "a\nb".to_owned()] {
            assert!(matches!(open(&[bad]), Err(StopPageError::Name(_))));
        }
        let page = open(std::slice::from_ref(&most)).unwrap();
        assert_eq!(page.describe().words[1].0, venue(&most));
    }
}

mod file {
    use super::*;

    #[test]
    fn is_private() {
        let place = Place::new();
        let page = place.running();
        let mode = fs::metadata(place.page()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(page);
        fs::set_permissions(place.page(), fs::Permissions::from_mode(0o620)).unwrap();
        let text = place.start(&["orders"], StopWord::Running).unwrap_err().to_string();
        assert!(text.contains("mode 620 lets others write"), "{text}");
        assert!(matches!(
            StopPage::open_existing(&place.page()),
            Err(StopPageError::Unsafe { .. })
        ));
    }

    #[test]
    fn is_not_followed_through_a_link() {
        let place = Place::new();
        drop(place.running());
        let real = place.0.path().join("real");
        fs::rename(place.page(), &real).unwrap();
        std::os::unix::fs::symlink(&real, place.page()).unwrap();
        assert!(matches!(
            place.start(&["orders"], StopWord::Running),
            Err(StopPageError::Io { .. })
        ));
    }

    #[test]
    fn that_is_not_there_says_so() {
        let place = Place::new();
        let text = StopPage::open_existing(&place.page()).unwrap_err().to_string();
        assert!(text.contains("there is none"), "{text}");
    }

    #[test]
    fn left_half_made_by_a_dead_process_is_made_again() {
        let place = Place::new();
        fs::write(place.page().with_extension("new"), "half").unwrap();
        assert!(place.start(&["orders"], StopWord::Running).is_ok());
        assert!(!place.page().with_extension("new").exists());
    }

    /// Every change to a sound page that a start must refuse, and whether a command must too.
    #[test]
    fn that_is_not_sound_refuses_the_start_and_stays_as_it_is() {
        type Damage = fn(&mut Vec<u8>);
        let cases: [(&str, bool, Damage); 10] = [
            ("0 bytes", true, |page| page.clear()),
            ("8191 bytes", true, |page| page.truncate(8_191)),
            ("8193 bytes", true, |page| page.push(0)),
            ("the mark", true, |page| page[0] ^= 1),
            ("the mark", true, |page| page.fill(0xa5)),
            ("layout 3, this program knows 2", true, |page| page[8] = 3),
            ("layout 1, this program knows 2", true, |page| {
                page[8] = 1;
                page.truncate(4_096);
            }),
            ("names no instance", true, |page| page[64] = 0),
            ("a name of 200 bytes", false, |page| page[1280] = 200),
            ("not text", false, |page| page[1281] = 0xff),
        ];
        for (says, also_direct, damage) in cases {
            let place = Place::new();
            let page = place.running();
            page.set(&class("cancels"), StopWord::Halt).unwrap();
            drop(page);
            let mut bytes = fs::read(place.page()).unwrap();
            damage(&mut bytes);
            fs::write(place.page(), &bytes).unwrap();
            let text = place.start(&["cancels"], StopWord::Running).unwrap_err().to_string();
            assert!(text.contains(says), "{says}: {text}");
            assert!(text.contains(place.page().to_str().unwrap()), "{text}");
            assert_eq!(fs::read(place.page()).unwrap(), bytes, "{says}");
            assert_eq!(StopPage::open_existing(&place.page()).is_err(), also_direct, "{says}");
        }
    }

    #[test]
    fn with_a_name_that_stands_twice_is_not_sound() {
        let place = Place::new();
        drop(place.running());
        let mut bytes = fs::read(place.page()).unwrap();
        bytes.copy_within(1280..1344, 1280 + 64 * 5);
        fs::write(place.page(), &bytes).unwrap();
        let text = place.start(&["orders"], StopWord::Running).unwrap_err().to_string();
        assert!(text.contains("class:orders stands in it twice"), "{text}");
    }

    #[test]
    fn of_another_instance_is_refused() {
        let place = Place::new();
        drop(place.running());
        let other = StopPage::create_or_open(&place.page(), "gw2", &NONE, &NONE, StopWord::Running);
        let text = other.unwrap_err().to_string();
        assert!(text.contains("belongs to instance \"gw1\", not to \"gw2\""), "{text}");
    }

    #[test]
    fn words_lie_where_other_tools_look_for_them() {
        let place = Place::new();
        let page = place.running();
        page.set(&Scope::All, StopWord::Passthrough).unwrap();
        page.set(&venue("XEUR"), StopWord::Halt).unwrap();
        page.set(&class("cancels"), StopWord::Passthrough).unwrap();
        let bytes = fs::read(place.page()).unwrap();
        assert_eq!(bytes.len(), 8_192);
        let mut expected = [0; 128];
        (expected[0], expected[2], expected[18]) = (1, 2, 1);
        assert_eq!(bytes[128..256], expected);
        assert_eq!(&bytes[64..68], b"\x03gw1");
        assert_eq!(&bytes[256..261], b"\x04XCME");
        assert_eq!(&bytes[1280..1287], b"\x06orders");
    }
}

mod names_in_motion {
    use super::*;

    #[test]
    fn hold_up_a_command_by_name_but_not_a_halt_of_everything() {
        let place = Place::new();
        let gateway = place.running();
        let starting = File::open(place.page()).unwrap();
        starting.lock().unwrap();
        let direct = place.direct();
        direct.set(&Scope::All, StopWord::Halt).unwrap();
        assert_eq!(words(&gateway).all, StopWord::Halt);
        let refused = direct.set(&class("orders"), StopWord::Halt).unwrap_err();
        assert!(matches!(refused, StopPageError::Busy(_)));
        assert!(gateway.set(&class("orders"), StopWord::Halt).is_ok());
    }
}

mod crash {
    use super::*;

    /// A gateway in a process of its own, running until it is killed.
    fn spawn(place: &Place) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stop_page::tests::crash::gateway_of_the_test", "--ignored"])
            .arg("--nocapture")
            .env("WIREPACE_TEST_PAGE", place.page())
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (child, out)
    }

    fn wait_for(out: &mut impl BufRead, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the gateway ended before {word}");
        }
    }

    #[test]
    fn halts_cross_processes_and_outlive_a_kill() {
        let place = Place::new();
        let (mut child, mut out) = spawn(&place);
        wait_for(&mut out, "started");
        assert!(matches!(
            place.start(&["orders"], StopWord::Running),
            Err(StopPageError::InUse { pid: Some(pid), .. }) if pid == child.id()
        ));
        let direct = place.direct();
        direct.set(&venue("XCME"), StopWord::Halt).unwrap();
        direct.set(&class("cancels"), StopWord::Passthrough).unwrap();
        // It has seen our words, and halts a class of its own.
        wait_for(&mut out, "seen");
        child.kill().unwrap();
        child.wait().unwrap();

        let page = place.running();
        let seen = words(&page);
        assert_eq!((seen.all, seen.venues[0]), (StopWord::Running, StopWord::Halt));
        assert_eq!((seen.classes[0], seen.classes[1]), (StopWord::Halt, StopWord::Running));
    }

    #[test]
    #[ignore = "the process that halts_cross_processes_and_outlive_a_kill starts and kills"]
    fn gateway_of_the_test() {
        let path = PathBuf::from(std::env::var_os("WIREPACE_TEST_PAGE").unwrap());
        let classes = ["orders", "cancels"];
        let page =
            StopPage::create_or_open(&path, "gw1", &["XCME", "XEUR"], &classes, StopWord::Running);
        let page = page.unwrap();
        println!("started");
        let mut raw = RawWords::default();
        // Bounded, should the test that started it die.
        for _ in 0..10_000 {
            page.snapshot(&mut raw);
            let words = page.decode(&raw);
            if words.of(1, Some(0)) == StopWord::Halt && words.classes[1] == StopWord::Passthrough {
                page.set(&class("orders"), StopWord::Halt).unwrap();
                println!("seen");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
