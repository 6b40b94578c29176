//! Files that appear whole: written beside their place, under a name that nobody can foresee, and then moved there.
//!
//! A name that can be foreseen is one where somebody else who may write in the directory can have put a link, and have
//! us write through it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::entropy;

/// A name beside it that nobody else uses.
pub(super) fn name_beside(path: &Path) -> io::Result<PathBuf> {
    let [a, b, c, d, ..] = entropy::seed()?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{:08x}", u32::from_be_bytes([a, b, c, d])));
    Ok(name.into())
}

/// Writes a file, down to the disk; fails when there is one, or a link. A part of it is removed.
pub(super) fn write_new(mut options: OpenOptions, path: &Path, text: &str) -> io::Result<()> {
    let mut file = options.write(true).create_new(true).open(path)?;
    let outcome = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if outcome.is_err() {
        let _ = fs::remove_file(path);
    }
    outcome
}

/// Puts the text in the place of whatever is there, so that a crash leaves the old file or the new one, never half of one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = name_beside(path)?;
    write_new(OpenOptions::new(), &draft, text)?;
    let outcome = fs::rename(&draft, path);
    if outcome.is_err() {
        let _ = fs::remove_file(&draft);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_whole_and_leaves_nothing_beside() {
        let directory = std::env::temp_dir().join(format!("p2poll-draft-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("peers");
        for text in ["one\n", "two\n"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        // A directory can not be replaced.
        fs::create_dir(directory.join("folder")).unwrap();
        replace(&directory.join("folder"), "x").unwrap_err();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_written_through() {
        use std::os::unix::fs::symlink;

        let directory = std::env::temp_dir().join(format!("p2poll-draft-link-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let (path, victim) = (directory.join("peers"), directory.join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, directory.join("peers.new")).unwrap();
        replace(&path, "one\n").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        // Were its name foreseen, and also where the place itself is a link.
        write_new(OpenOptions::new(), &directory.join("peers.new"), "x").unwrap_err();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        replace(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_dir_all(&directory).unwrap();
    }
}
