use std::io::Write as _;

use tempfile::NamedTempFile;

use super::*;
use crate::cli::KeyArgs;
use crate::environment::Key;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn with(config: &NamedTempFile) -> ServeArgs {
    ServeArgs { config: Some(config.path().to_owned()), ..ServeArgs::default() }
}

fn in_file(path: impl Into<PathBuf>) -> KeyArgs {
    KeyArgs(args::KeyFlags { secret_key: None, secret_key_file: Some(path.into()) })
}

fn refusal(text: &str) -> String {
    let file = file(text);
    let refused = with(&file).settings(Keep::InMemory).unwrap_err().to_string();
    refused.replace(&file.path().display().to_string(), "FILE")
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = file(
        "port = 8080\nhost = \"0.0.0.0\"\nsecret-key = \"tr_prod_file\"\nlease-seconds = 30\ndrain-seconds = 5\nlog = \"debug\"\n\
         rate-limit = \"7, 2/10\"\n",
    );
    let flags = ServeArgs {
        port: Some(9090),
        key: "tr_prod_flag".into(),
        lease_seconds: Some(3),
        format: Some(Format::Json),
        ..with(&file)
    };

    let settings = flags.settings(Keep::InMemory).unwrap();

    assert_eq!((settings.port, settings.secret_key.expose(), settings.lease.as_secs()), (9090, "tr_prod_flag", 3));
    assert_eq!((settings.host.to_string().as_str(), settings.drain_limit.as_secs()), ("0.0.0.0", 5));
    assert_eq!((settings.format, settings.log), (Format::Json, LogLevel::Debug));
    let limit = RateLimit { burst: 7, refill: 2, every: Duration::from_secs(10) };
    assert_eq!(settings.environment().limit(), Some(limit));
    let key = ServeArgs { key: "tr_dev_1".into(), ..ServeArgs::default() };
    let settings = key.settings(Keep::InMemory).unwrap();
    assert_eq!((settings.port, settings.host.to_string().as_str(), settings.log), (3030, "127.0.0.1", LogLevel::Warn));
    assert_eq!((settings.lease.as_secs(), settings.drain_limit.as_secs()), (10, 20));
    assert_eq!(settings.environment().limit(), None);
}

#[test]
fn keys_of_all_kinds_come_from_the_file_s177_s178() {
    let file = file(
        "secret-key = \"tr_prod_new\"\n[[retired-key]]\nkey = \"tr_prod_old\"\nuntil = \"2099-01-01T00:00:00Z\"\n\
         [[restricted-key]]\nkey = \"tr_prod_narrow\"\nscopes = [\"read:sessions\"]\n",
    );

    let environment = with(&file).settings(Keep::InMemory).unwrap().environment();

    assert_eq!(environment.key("tr_prod_new", NOW), Some(Key::Secret));
    assert_eq!(environment.key("tr_prod_old", NOW), Some(Key::Secret));
    assert!(matches!(environment.key("tr_prod_narrow", NOW), Some(Key::Restricted(_))));
}

#[test]
fn the_secret_key_may_have_a_file_of_its_own() {
    let key = file("tr_prod_4f1c0a\n");
    let by_flag = ServeArgs { key: in_file(key.path().to_owned()), ..ServeArgs::default() };
    let named = file(&format!("secret-key-file = {:?}\n", key.path().file_name().unwrap()));
    let broken = file("hunter2\n");
    let of_broken = ServeArgs { key: in_file(broken.path().to_owned()), ..ServeArgs::default() };

    assert_eq!(by_flag.settings(Keep::InMemory).unwrap().secret_key.expose(), "tr_prod_4f1c0a");
    assert_eq!(
        with(&named).settings(Keep::InMemory).unwrap().secret_key.expose(),
        "tr_prod_4f1c0a",
        "beside the file that names it"
    );
    let refused = of_broken.settings(Keep::InMemory).unwrap_err().to_string();
    assert!(refused.contains("holds no secret key") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn what_is_wrong_is_told_by_its_place_and_without_the_line_s_text() {
    for (text, want) in [
        ("port = 8080\nprot = 1\n", "FILE:2:1: unknown field `prot`, expected one of `port`"),
        ("port = 70000\n", "FILE:1:8: invalid value: integer `70000`, expected u16"),
        ("lease-seconds = 0\n", "FILE:1:17: invalid value: integer `0`, expected a nonzero u64"),
        ("host = \"here\"\n", "FILE:1:8: an address of this machine, such as 127.0.0.1"),
        ("rate-limit = \"many\"\n", "FILE:1:14: three numbers above 0 as in 750,250/10"),
        ("secret-key = \"tr_dev_sk_hunter2\"\n", "FILE:1:14: a key like tr_dev_sk_"),
        ("secret-key = \"tr_dev_hunter2\n", "FILE:1:29: invalid basic string"),
        ("[[retired-key]]\nkey = \"tr_dev_hunter2\"\nuntil = \"soon\"\n", "FILE:3:9: a moment as in"),
        ("retired-key = \"tr_dev_hunter2\"\n", "FILE:1:15: invalid type: string, expected a sequence"),
        ("restricted-key = [\"tr_dev_hunter2\"]\n", "FILE:1:19: invalid type: string, expected struct RestrictedKey"),
        ("secret-key-file = \"tr_dev_hunter2\"\n", "the name of a file is asked for, and a key is given"),
        ("port = \"a \\\"tr_dev_hunter2\\\" b\"\n", "FILE:1:8: invalid type: string, expected u16"),
        ("format = \"tr_dev_hunter2\"\n", "FILE:1:10: unknown variant `…`, expected `text` or `json`"),
        ("tr_dev_hunter2 = 1\n", "FILE:1:1: unknown field `…`, expected one of `port`"),
        ("\"a`tr_dev_hunter2\" = 1\n", "FILE:1:1: unknown field `…`, expected one of `port`"),
        ("\"`, expected tr_dev_hunter2\" = 1\n", "FILE:1:1: unknown field `…`, expected one of `port`"),
        ("\"tr_dev_hunter2\" = 1\n\"tr_dev_hunter2\" = 2\n", "FILE:2:1: duplicate key"),
        ("secret-key = \"tr_dev_1\"\nsecret-key-file = \"k\"\n", "the file of settings has both"),
        ("port = 1\n", "there is no secret key: give one with --secret-key"),
    ] {
        let refused = refusal(text);
        assert!(refused.starts_with(want), "{text:?}: {refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    for args in [
        ServeArgs { key: in_file("tr_dev_hunter2"), ..ServeArgs::default() },
        ServeArgs { config: Some("tr_dev_hunter2".into()), ..ServeArgs::default() },
    ] {
        let refused = args.settings(Keep::InMemory).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
    }
    let honest = ServeArgs { key: in_file("nowhere/tr_key.txt"), ..ServeArgs::default() };
    assert!(honest.settings(Keep::InMemory).unwrap_err().to_string().starts_with("nowhere/tr_key.txt: "));
    let nowhere = ServeArgs { config: Some("/nowhere/at/all.toml".into()), ..ServeArgs::default() };
    assert!(nowhere.settings(Keep::InMemory).unwrap_err().to_string().starts_with("/nowhere/at/all.toml: "));
}

#[test]
fn where_sessions_are_kept_is_said_or_left_to_the_program() {
    let named = file("secret-key = \"tr_dev_1\"\ndata = \"sessions\"\n");
    let unnamed = file("secret-key = \"tr_dev_1\"\n");
    let keep = |args: ServeArgs| args.settings(Keep::Folder("default".into())).unwrap().keep;
    let folder = |name: &str| Keep::Folder(name.into());

    assert_eq!(keep(with(&unnamed)), folder("default"));
    assert_eq!(
        keep(with(&named)),
        Keep::Folder(named.path().with_file_name("sessions")),
        "beside the file that names it"
    );
    assert_eq!(keep(ServeArgs { data: Some("here".into()), ..with(&named) }), folder("here"));
    assert_eq!(keep(ServeArgs { in_memory: true, data: Some("here".into()), ..with(&named) }), Keep::InMemory);
}

#[test]
fn a_key_that_the_sdk_would_not_sign_with_is_refused_with_what_to_take_and_is_not_shown() {
    for (key, want) in [
        ("tr_dev_sk_hunter2", "leave the sk_ out"),
        ("tr_prod_sk_hunter2", "leave the sk_ out"),
        ("hunter2", "begins with tr_dev_"),
        ("tr_dev_", "letters and digits follow"),
        ("tr_dev_hunter2 b", "letters and digits follow"),
    ] {
        let args = ServeArgs { key: key.into(), ..ServeArgs::default() };

        let refused = args.settings(Keep::InMemory).unwrap_err().to_string();

        assert!(refused.contains(want) && !refused.contains("hunter2"), "{refused}");
    }
}
