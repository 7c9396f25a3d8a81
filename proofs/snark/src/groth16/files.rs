//! Writing a file so that it is there in full or not at all, and reading one with a look at how far it is.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use cairn_sector::Progress;

use super::error::{KeyFileError, KeyIo};

/// A file under another name until it is complete; removed if it never is.
pub struct NewFile {
    target: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl NewFile {
    /// Starts `target`. Processes do not disturb each other: each has a name of its own for the incomplete file.
    pub fn create(target: &Path) -> Result<Self, KeyFileError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let partial = target.with_file_name(format!("{name}.partial-{}", std::process::id()));
        let file = File::create(&partial).at("create", &partial)?;
        Ok(Self { target: target.to_owned(), partial, writer: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Where to write.
    pub fn writer(&mut self) -> &mut BufWriter<File> {
        self.writer.as_mut().expect("present until the file is finished")
    }

    /// Makes it durable and gives it its name.
    pub fn finish(mut self) -> Result<(), KeyFileError> {
        let mut writer = self.writer.take().expect("present until the file is finished");
        writer.flush().at("write", &self.partial)?;
        writer.get_ref().sync_all().at("sync", &self.partial)?;
        drop(writer);
        fs::rename(&self.partial, &self.target).at("rename", &self.target)?;
        let folder = self.target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).at("sync", folder)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name; before it, a leftover would only take space.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a small file.
pub fn write_file(target: &Path, content: &[u8]) -> Result<(), KeyFileError> {
    let mut file = NewFile::create(target)?;
    file.writer().write_all(content).at("write", target)?;
    file.finish()
}

/// A file that tells how many of its bytes have been read.
pub struct Counted<'a> {
    file: File,
    done: u64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a> Counted<'a> {
    /// Opens a file to be read once, from its start to its end.
    pub fn open(file: &Path, progress: Progress<'a>) -> Result<Self, KeyFileError> {
        let opened = File::open(file).at("open", file)?;
        let total = opened.metadata().at("read", file)?.len();
        Ok(Self { file: opened, done: 0, total, progress })
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        (self.progress)(self.done, self.total);
        Ok(read)
    }
}
