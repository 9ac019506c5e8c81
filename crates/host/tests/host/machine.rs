//! What `Host::os()` gives of this machine: threads that may block, files, programs.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::oneshot;
use turnkeep_host::{Command, FileStart, Finished, Host, Kept};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn bash(folder: &Path, script: &str) -> Command {
    let args = vec!["-c".to_owned(), script.to_owned()];
    Command { program: "bash".to_owned(), args, folder: folder.to_owned(), max_kept_bytes: 8 }
}

async fn run(folder: &Path, script: &str) -> Finished {
    let running = Host::os().process().run(bash(folder, script));
    tokio::time::timeout(PATIENCE, running).await.expect("the program ends").unwrap()
}

#[tokio::test]
async fn blocking_work_gives_its_result_and_its_panic_d50() {
    let host = Host::os();

    let here = std::thread::current().id();
    let there = host.blocking(|| std::thread::current().id()).await;
    let panicked = AssertUnwindSafe(host.blocking(|| panic!("as the work does"))).catch_unwind().await;

    assert_ne!(here, there);
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"as the work does"));
}

#[tokio::test]
async fn a_read_is_capped_and_tells_the_whole_length_d50() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    fs::write(&path, "0123456789").unwrap();
    let host = Host::os();
    let files = host.files();

    assert_eq!(files.read(&path, 4).await.unwrap(), FileStart { bytes: b"0123".to_vec(), len: 10 });
    assert_eq!(files.read(&path, 10).await.unwrap().bytes, b"0123456789");
    assert_eq!(files.read(&folder.path().join("no"), 4).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn only_plain_files_are_read_so_a_pipe_holds_nobody_up_d50() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), "mkfifo pipe").await.exit_code, 0);
    let host = Host::os();

    for path in [folder.path().join("pipe"), folder.path().to_owned(), "/dev/zero".into()] {
        let read = tokio::time::timeout(PATIENCE, host.files().read(&path, 4)).await.expect("an answer comes");
        assert_eq!(read.unwrap_err().to_string(), "not a plain file", "{}", path.display());
    }
}

#[tokio::test]
async fn a_real_path_has_no_links_left_d50() {
    let folder = tempfile::tempdir().unwrap();
    let real = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(real.join("deep")).unwrap();
    symlink(real.join("deep"), real.join("link")).unwrap();
    let host = Host::os();

    assert_eq!(host.files().real_path(&real.join("link/../deep")).await.unwrap(), real.join("deep"));
    assert_eq!(host.files().real_path(&real.join("link")).await.unwrap(), real.join("deep"));
}

#[tokio::test]
async fn a_program_gives_its_code_and_the_beginning_of_what_it_said_a255() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("here"), "").unwrap();

    let said = run(folder.path(), "ls; echo 0123456789 >&2; cat; exit 3").await;

    let here = Kept { bytes: b"here\n".to_vec(), n_bytes: 5 };
    assert_eq!(
        said,
        Finished { exit_code: 3, stdout: here, stderr: Kept { bytes: b"01234567".to_vec(), n_bytes: 11 } }
    );
    assert_eq!(run(folder.path(), "kill -9 $$").await.exit_code, 137);
    // More than a pipe holds: a program is never stuck because nobody reads.
    assert_eq!(run(folder.path(), "head -c 1000000 /dev/zero").await.stdout.n_bytes, 1_000_000);
    let missing = Command { program: "no-such-program".to_owned(), ..bash(folder.path(), "") };
    assert_eq!(Host::os().process().run(missing).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_a_program_leaves_behind_holds_its_call_up_only_shortly_a255() {
    let folder = tempfile::tempdir().unwrap();

    let said = run(folder.path(), "sleep 30 & echo done; exit 0").await;

    assert_eq!((said.exit_code, said.stdout.bytes), (0, b"done\n".to_vec()));
}

/// The grandchild holds a pipe open; its end is the end of the grandchild.
#[tokio::test]
async fn dropping_the_call_kills_the_whole_group_a255() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), "mkfifo pipe").await.exit_code, 0);
    let host = Host::os();
    let (up, is_up) = oneshot::channel();
    let pipe = folder.path().join("pipe");
    let (dead, is_dead) = oneshot::channel();
    let reader = host.clone();
    let _reading = host.spawn(async move {
        let read = move || {
            let mut pipe = fs::File::open(pipe).unwrap();
            pipe.read_exact(&mut [0; 3]).unwrap();
            up.send(()).unwrap();
            pipe.read_to_end(&mut Vec::new()).unwrap();
        };
        reader.blocking(read).await;
        dead.send(()).unwrap();
    });

    let running = host.process().run(bash(folder.path(), "(echo up; exec sleep 30) > pipe & wait"));
    tokio::select! {
        biased;
        up = is_up => up.unwrap(),
        ended = running => panic!("it never ends by itself: {ended:?}"),
    }

    tokio::time::timeout(PATIENCE, is_dead).await.expect("the grandchild is killed").unwrap();
}
