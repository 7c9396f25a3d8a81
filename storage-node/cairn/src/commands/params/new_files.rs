//! Files that a command may make: gone again unless the command succeeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

/// Remembers which files and folders are not there yet. Dropped without [`keep`](Self::keep), or when Ctrl-C is
/// pressed, those that came into being are removed; incomplete files (`NAME.partial-PID`, `STEM.partial`) too.
pub struct NewFiles {
    pending: Arc<Mutex<Option<Pending>>>,
}

/// What to remove.
struct Pending {
    files: Vec<PathBuf>,
    /// Folders that were made, innermost last.
    folders: Vec<PathBuf>,
    /// Where to look for incomplete files, and how their names begin.
    incomplete: Vec<(PathBuf, String)>,
}

impl NewFiles {
    /// Makes `folders`, and begins to watch over `files`. Incomplete files of a process that is no more are removed.
    pub fn begin(folders: Vec<PathBuf>, files: Vec<PathBuf>) -> anyhow::Result<Self> {
        let mut pending = Pending { files: vec![], folders: vec![], incomplete: incomplete_names(&files) };
        pending.files = files.into_iter().filter(|file| !file.exists()).collect();
        let pending = Arc::new(Mutex::new(Some(pending)));
        let new = Self { pending };
        for folder in folders {
            let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
            let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
            missing.reverse();
            new.with(|pending| pending.folders.extend(missing));
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        new.with(|pending| pending.remove_incomplete(is_abandoned));
        new.remove_on_interrupt()?;
        Ok(new)
    }

    /// The command succeeded: everything stays.
    pub fn keep(self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn with(&self, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(pending);
        }
    }

    /// Waits for Ctrl-C on a thread of its own, which ends with the process.
    fn remove_on_interrupt(&self) -> anyhow::Result<()> {
        let pending = Arc::clone(&self.pending);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
                return;
            }
            let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(unfinished) = pending.take() else { return };
            unfinished.remove();
            eprintln!("cairn: stopped by Ctrl-C; nothing was left behind");
            std::process::exit(1);
        });
        Ok(())
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take() {
            pending.remove();
        }
    }
}

impl Pending {
    /// Failures are of no interest: there is a first error to tell, and a leftover is named by it or harmless.
    fn remove(self) {
        self.remove_incomplete(is_ours);
        self.files.iter().for_each(|file| drop(fs::remove_file(file)));
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }

    fn remove_incomplete(&self, chosen: impl Fn(&str) -> bool) {
        for (folder, start) in &self.incomplete {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_str().and_then(|name| name.strip_prefix(start.as_str())).is_some_and(&chosen) {
                    drop(fs::remove_file(entry.path()));
                }
            }
        }
    }
}

fn incomplete_names(files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let name = |file: &PathBuf| {
        let folder = file.parent()?.to_owned();
        Some((folder, format!("{}.partial", file.file_name()?.to_str()?)))
    };
    files.iter().filter_map(name).collect()
}

/// Whether an incomplete file is this process's: what follows `.partial` in its name says.
fn is_ours(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|id| id == std::process::id().to_string())
}

/// Whether the process of an incomplete file is no more. Where processes cannot be seen, nothing is.
fn is_abandoned(rest: &str) -> bool {
    let Some(id) = rest.strip_prefix('-').filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())) else {
        return false;
    };
    Path::new("/proc/self").exists() && !Path::new("/proc").join(id).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_into_being_goes_again_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("params").join("cache");
        let old = folder.path().join("old");
        fs::write(&old, "old").unwrap();
        let new = made.join("new");
        let begin = || NewFiles::begin(vec![made.clone()], vec![old.clone(), new.clone()]).unwrap();

        let files = begin();
        fs::write(&new, "new").unwrap();
        fs::write(made.join(format!("new.partial-{}", std::process::id())), "part").unwrap();
        drop(files);
        assert!(old.exists() && !folder.path().join("params").exists());

        let files = begin();
        fs::write(&new, "new").unwrap();
        files.keep();
        assert!(old.exists() && new.exists());
    }

    #[test]
    fn incomplete_files_of_dead_processes_are_removed_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // No process has an id above 2^22.
        let names = ["x.partial-4294967295", "x.partial-1", "x.partial-old", "y.partial-4294967295"];
        for name in names {
            fs::write(path(name), "part").unwrap();
        }
        NewFiles::begin(vec![], vec![path("x")]).unwrap().keep();
        assert_eq!(names.map(|name| path(name).exists()), [false, true, true, true]);
    }
}
