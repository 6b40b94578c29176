//! A key's file: read, or made once and for all.
//!
//! There is no moment at which anybody else could read a new file, and none at which a part of it is there: it is written
//! beside its place under a name of its own, owner-only from the start, and appears in its place whole. Who comes first
//! wins; the others take what is there. What is there is never overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::{draft, entropy};
use crate::identity::{Key, KeyError, KeyFault, LONGEST, parse_secret_line, print_secret_line};

impl Key {
    /// A new key, from the operating system's randomness. It is gone with the program; see [`Key::load_or_create`].
    pub fn generate() -> io::Result<Self> {
        entropy::seed().map(|seed| Self::from_seed(&seed))
    }

    /// The key in this file; when there is no file, a new key, and the file with it. Its directory has to exist.
    ///
    /// Programs that start at the same moment get the same key. The file can only be read by its owner; one that
    /// others can read or write is refused (on unix), as ssh does it, and so is one that belongs to another user. A file that is damaged, or no key's at all, is an
    /// error and stays as it is.
    ///
    /// It reads and writes a small file, and waits for the disk: call it before the loop begins.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("p2poll-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # let file = directory.join("node.key");
    /// use p2poll::{Key, KeyFault};
    ///
    /// let made = Key::load_or_create(&file)?;
    /// assert_eq!(Key::load_or_create(&file)?.id(), made.id());
    ///
    /// std::fs::write(&file, "p2poll-secret-key-1 oops")?;
    /// let error = Key::load_or_create(&file).unwrap_err();
    /// assert!(matches!(error.fault, KeyFault::Damaged));
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        load_or_create(path).map_err(|fault| KeyError { path: path.to_owned(), fault })
    }
}

fn load_or_create(path: &Path) -> Result<Key, KeyFault> {
    match load(path) {
        Err(KeyFault::System(error)) if error.kind() == ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    match create(path, &entropy::seed()?, |from, to| fs::hard_link(from, to)) {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load(path),
        outcome => Ok(outcome?),
    }
}

fn load(path: &Path) -> Result<Key, KeyFault> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(KeyFault::Foreign);
    }
    // Of the file that is open: a look at the path could be at another one.
    if let Some(owner) = other_owner(&metadata)? {
        return Err(KeyFault::Owner(owner));
    }
    if let Some(mode) = exposing_mode(&metadata) {
        return Err(KeyFault::Exposed(mode));
    }
    let mut text = Vec::with_capacity(LONGEST + 1);
    file.take(LONGEST as u64 + 1).read_to_end(&mut text)?;
    parse_secret_line(&text)
}

/// Makes the file with a new key in it, unless there is one. `link` gives a file a second name, unless that is taken:
/// nothing else puts a file in its place at once, whole, and without replacing another.
fn create(path: &Path, seed: &[u8; 32], link: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<Key> {
    let key = Key::from_seed(seed);
    let text = print_secret_line(&key);
    let draft = draft::name_beside(path)?;
    let outcome = draft::write_new(owner_only(), &draft, &text).and_then(|()| match link(&draft, path) {
        // Some file systems have no second names (FAT, Android's). There a crash may leave a part of the file, and who
        // starts at the same moment may see it; both are errors later, and never another key.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => draft::write_new(owner_only(), path, &text),
        outcome => outcome,
    });
    // It may never have come to be.
    let _ = fs::remove_file(&draft);
    outcome?;
    keep_name(path);
    Ok(key)
}

#[cfg(unix)]
fn owner_only() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Elsewhere a file has the access list of its directory; a user's own directories are the user's own.
#[cfg(not(unix))]
fn owner_only() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Opening a pipe would wait for its other end.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The permissions, when they let anybody but the owner at it.
#[cfg(unix)]
fn exposing_mode(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposing_mode(_: &fs::Metadata) -> Option<u32> {
    None
}

/// The owner, when that is somebody else: whoever can put a file of his in its place knows the key, and so can be us.
#[cfg(unix)]
fn other_owner(metadata: &fs::Metadata) -> io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = metadata.uid();
    Ok((owner != own_user()?).then_some(owner))
}

/// Who this process is, as far as files are concerned. The standard library does not tell; but what the process makes is
/// its own, and a pipe is made nowhere on a disk.
#[cfg(unix)]
fn own_user() -> io::Result<u32> {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt as _;
    let (reader, _writer) = io::pipe()?;
    Ok(File::from(OwnedFd::from(reader)).metadata()?.uid())
}

#[cfg(not(unix))]
fn other_owner(_: &fs::Metadata) -> io::Result<Option<u32>> {
    Ok(None)
}

/// The name is in the directory, which is to reach the disk, too.
#[cfg(unix)]
fn keep_name(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Some file systems can not do so. Then a crash in the next seconds may cost the new key, but never a half one.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}

#[cfg(not(unix))]
fn keep_name(_: &Path) {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::Barrier;

    use super::*;

    /// A directory of the test's own, removed in the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("p2poll-key-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("node.key")
        }

        fn names(&self) -> Vec<std::ffi::OsString> {
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn fault(path: &Path) -> KeyFault {
        let error = Key::load_or_create(path).unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.to_string().contains("node.key"), "{error}");
        error.fault
    }

    fn put(path: &Path, content: &[u8]) {
        owner_only().write(true).create(true).truncate(true).open(path).unwrap().write_all(content).unwrap();
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let directory = Directory::new("once");
        let key = Key::load_or_create(directory.file()).unwrap();
        assert_eq!(Key::load_or_create(directory.file()).unwrap().id(), key.id());
        assert_eq!(directory.names(), ["node.key"]);
        assert_ne!(Key::generate().unwrap().id(), key.id());
    }

    #[test]
    fn what_is_no_key_is_an_error_and_stays() {
        let directory = Directory::new("stays");
        let file = directory.file();
        let good = print_secret_line(&Key::from_seed(&[1; 32]));
        let damaged = good.replacen("01", "02", 1);
        for (content, expected) in [
            (&b""[..], "the key file is empty"),
            (&[b'x'; 4096], "not a key file: it is too long"),
            (b"[settings]\nname = \"alice\"\n", "not a key file"),
            (damaged.as_bytes(), "the key file is damaged"),
            (&good.as_bytes()[..60], "the key file is damaged"),
        ] {
            put(&file, content);
            assert_eq!(fault(&file).to_string(), expected);
            assert_eq!(fs::read(&file).unwrap(), content);
        }
        assert_eq!(directory.names(), ["node.key"]);
    }

    #[test]
    fn no_directory_no_key() {
        let directory = Directory::new("none");
        let fault = fault(&directory.0.join("missing/node.key"));
        assert!(matches!(fault, KeyFault::System(error) if error.kind() == ErrorKind::NotFound));
        assert!(directory.names().is_empty());
    }

    #[test]
    fn all_who_start_at_once_get_the_same_key() {
        let directory = Directory::new("race");
        for round in 0..20 {
            let file = directory.0.join(round.to_string());
            let start = Barrier::new(8);
            let ids: Vec<_> = std::thread::scope(|scope| {
                let run = || {
                    start.wait();
                    Key::load_or_create(&file).unwrap().id()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(ids.iter().all(|&id| id == ids[0]), "{ids:?}");
        }
        assert_eq!(directory.names().len(), 20);
    }

    #[test]
    fn who_comes_second_replaces_nothing() {
        let directory = Directory::new("second");
        let file = directory.file();
        let link = |from: &Path, to: &Path| fs::hard_link(from, to);
        let no_link = |_: &Path, _: &Path| Err(io::Error::from(ErrorKind::Unsupported));
        let first = create(&file, &[1; 32], link).unwrap();
        assert_eq!(create(&file, &[2; 32], link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(create(&file, &[2; 32], no_link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(load(&file).unwrap().id(), first.id());
        assert_eq!(directory.names(), ["node.key"]);
    }

    #[test]
    fn a_file_system_without_links_will_do() {
        let directory = Directory::new("no-link");
        let key =
            create(&directory.file(), &[1; 32], |_, _| Err(ErrorKind::PermissionDenied.into())).unwrap();
        assert_eq!(load(&directory.file()).unwrap().id(), key.id());
        assert_eq!(directory.names(), ["node.key"]);
    }

    #[cfg(unix)]
    mod on_unix {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

        use super::*;

        #[test]
        fn it_is_its_owners_alone_from_the_start() {
            let directory = Directory::new("alone");
            // What is linked is what was written: this sees it before it has its name.
            let link = |from: &Path, to: &Path| {
                assert_eq!(fs::metadata(from)?.mode() & 0o777, 0o600);
                fs::hard_link(from, to)
            };
            create(&directory.file(), &[1; 32], link).unwrap();
            assert_eq!(fs::metadata(directory.file()).unwrap().mode() & 0o777, 0o600);
        }

        #[test]
        fn a_key_that_others_may_read_or_write_is_refused() {
            let directory = Directory::new("exposed");
            let file = directory.file();
            let id = Key::load_or_create(&file).unwrap().id();
            for mode in [0o640, 0o604, 0o620, 0o602, 0o777] {
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                assert!(matches!(fault(&file), KeyFault::Exposed(found) if found == mode), "{mode:o}");
            }
            for mode in [0o600, 0o400] {
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                assert_eq!(Key::load_or_create(&file).unwrap().id(), id, "{mode:o}");
            }
        }

        #[test]
        fn a_key_of_another_owner_is_refused() {
            let directory = Directory::new("owner");
            let file = directory.file();
            let id = Key::load_or_create(&file).unwrap().id();
            let own = own_user().unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), own);
            // Only root can give a file away.
            let Ok(()) = std::os::unix::fs::chown(&file, Some(own + 1), None) else {
                assert_ne!(own, 0);
                return;
            };
            let fault = fault(&file);
            assert!(matches!(fault, KeyFault::Owner(owner) if owner == own + 1), "{fault}");
            std::os::unix::fs::chown(&file, Some(own), None).unwrap();
            assert_eq!(Key::load_or_create(&file).unwrap().id(), id);
        }

        #[test]
        fn neither_directories_nor_devices_are_keys() {
            let directory = Directory::new("odd");
            let file = directory.file();
            fs::create_dir(&file).unwrap();
            assert!(matches!(fault(&file), KeyFault::Foreign));
            fs::remove_dir(&file).unwrap();
            symlink("/dev/zero", &file).unwrap();
            assert!(matches!(fault(&file), KeyFault::Foreign));
        }

        #[test]
        fn nobody_waits_for_the_other_end_of_a_pipe() {
            let directory = Directory::new("pipe");
            let made = std::process::Command::new("mkfifo").arg(directory.file()).status();
            assert!(made.unwrap().success());
            assert!(matches!(fault(&directory.file()), KeyFault::Foreign));
        }

        #[test]
        fn a_link_to_a_key_is_followed_and_one_to_nothing_is_an_error() {
            let directory = Directory::new("link");
            let file = directory.file();
            let elsewhere = directory.0.join("elsewhere");
            symlink(&elsewhere, &file).unwrap();
            assert!(matches!(fault(&file), KeyFault::System(_)));
            assert!(!elsewhere.exists());
            let id = Key::load_or_create(&elsewhere).unwrap().id();
            assert_eq!(Key::load_or_create(&file).unwrap().id(), id);
        }
    }
}
