//! The folder into which files are received. A sender is a stranger: whatever it says, nothing is written elsewhere,
//! nothing that is there is overwritten, and nothing grows beyond what was offered and allowed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::words::{Hasher, Offer};

/// Unfinished files that may lie in the folder.
const MAX_PARTS: usize = 32;
/// Bytes of a name, so that with what is added it stays below the 255 that file systems allow.
const MAX_NAME: usize = 200;
/// What an unfinished file has at its end, and beside it the file that says what it is to become.
const PART: &str = ".part";
const EXPECTED: &str = ".part.sha256";

pub(crate) struct Store {
    folder: PathBuf,
    /// Bytes of one file.
    max_size: u64,
}

/// A file that is being received.
pub(crate) struct Part {
    /// As offered, but with the name that it gets here.
    pub(crate) offer: Offer,
    file: File,
    have: u64,
    folder: PathBuf,
    /// While what was received is read again.
    hasher: Hasher,
}

impl Store {
    pub(crate) fn open(folder: &Path, max_size: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), max_size })
    }

    /// Begins to receive a file, or goes on where it was left. The error is for the sender.
    pub(crate) fn begin(&self, offer: Offer) -> Result<Part, String> {
        let name = harmless(&offer.name);
        let offer = Offer { name, ..offer };
        let name = &offer.name;
        if offer.size > self.max_size {
            return Err(format!("more than {} bytes are not accepted", self.max_size));
        }
        if self.path(name, "").symlink_metadata().is_ok() {
            return Err(format!("there is a file {name} already"));
        }
        let system = |why: io::Error| format!("{name}: {why}");
        let part = self.path(name, PART);
        if part.symlink_metadata().is_ok() || self.path(name, EXPECTED).symlink_metadata().is_ok() {
            if self.expected(name).map_err(system)? != expectation(&offer) {
                return Err(format!("another file {name} is on its way; remove {name}{PART} to give it up"));
            }
        } else {
            if self.parts().map_err(system)? >= MAX_PARTS {
                return Err("too many unfinished files".into());
            }
            // First what it is to be: a part of which nobody knows that would be of no use.
            let mut expected = create(&self.path(name, EXPECTED)).map_err(system)?;
            expected.write_all(expectation(&offer).as_bytes()).map_err(system)?;
        }
        let (file, have) = append(&part).map_err(system)?;
        if have > offer.size {
            return Err(format!("{name}{PART} is too long"));
        }
        Ok(Part { offer, file, have, folder: self.folder.clone(), hasher: Hasher::default() })
    }

    fn path(&self, name: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{name}{end}"))
    }

    fn expected(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        let file = File::open(regular(&self.path(name, EXPECTED))?)?;
        file.take(200).read_to_string(&mut text)?;
        Ok(text)
    }

    fn parts(&self) -> io::Result<usize> {
        let is_part = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(EXPECTED);
        Ok(fs::read_dir(&self.folder)?.filter_map(Result::ok).filter(is_part).count())
    }
}

impl Part {
    pub(crate) fn have(&self) -> u64 {
        self.have
    }

    /// The next bytes. The error is for the sender.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let end = offset.checked_add(bytes.len() as u64);
        if offset != self.have || end.is_none_or(|end| end > self.offer.size) {
            return Err(format!("data for {offset} does not follow {} of {}", self.have, self.offer.size));
        }
        self.file.write_all(bytes).map_err(|why| format!("{}: {why}", self.offer.name))?;
        self.have += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.have == self.offer.size
    }

    /// Reads what is on the disk again, all of it once it is whole.
    pub(crate) fn begin_verification(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.hasher = Hasher::default();
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Goes on with that for a moment; whether it is what was offered, at its end.
    pub(crate) fn verify(&mut self) -> io::Result<Option<bool>> {
        if self.hasher.take(&mut self.file)? {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.hasher).finish() == self.offer.digest))
    }

    /// Gives it its name.
    pub(crate) fn keep(self) -> io::Result<PathBuf> {
        let (part, whole) = (self.path(PART), self.path(""));
        match fs::hard_link(&part, &whole) {
            Ok(()) => fs::remove_file(&part)?,
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => return Err(why),
            // A file system without links. Nobody else writes here at the same moment, so that this is as good.
            Err(_) if whole.symlink_metadata().is_err() => fs::rename(&part, &whole)?,
            Err(why) => return Err(why),
        }
        fs::remove_file(self.path(EXPECTED))?;
        Ok(whole)
    }

    /// It is not what was offered: it begins anew the next time.
    pub(crate) fn discard(self) -> io::Result<()> {
        fs::remove_file(self.path(PART))?;
        fs::remove_file(self.path(EXPECTED))
    }

    fn path(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}{end}", self.offer.name))
    }
}

fn expectation(offer: &Offer) -> String {
    format!("{} {}\n", offer.digest, offer.size)
}

/// Never what is there, and never through a link.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create_new(true).open(path)
}

/// A new file, or what is there of it, and how much that is.
fn append(path: &Path) -> io::Result<(File, u64)> {
    match create(path) {
        Ok(file) => Ok((file, 0)),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            let file = OpenOptions::new().read(true).append(true).open(regular(path)?)?;
            let have = file.metadata()?.len();
            Ok((file, have))
        }
        Err(why) => Err(why),
    }
}

/// The same path, if it is no link, pipe or folder.
fn regular(path: &Path) -> io::Result<&Path> {
    match path.symlink_metadata()?.is_file() {
        true => Ok(path),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// A name in this folder, made of what a stranger calls it: without separators, commands for terminals, a dot at its
/// beginning, and what some system has a use of its own for.
pub(crate) fn harmless(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " ._-+=,@()".contains(c);
    let replaced: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let trimmed = replaced.trim_matches([' ', '.']);
    let mut end = trimmed.len().min(MAX_NAME);
    while !trimmed.is_char_boundary(end) {
        end -= 1;
    }
    let name = trimmed[..end].trim_end_matches([' ', '.']);
    let lower = name.to_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let is_device = matches!(stem, "con" | "prn" | "aux" | "nul")
        || (stem.len() == 4 && (stem.starts_with("com") || stem.starts_with("lpt")));
    match name {
        "" => "unnamed".into(),
        name if is_device => format!("_{name}"),
        name if lower.ends_with(PART) || lower.ends_with(EXPECTED) => format!("{name}_"),
        name => name.into(),
    }
}
