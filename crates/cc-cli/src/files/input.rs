//! What is read: a file or standard input.

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::error::CliError;

/// A file that was opened, or standard input.
pub(crate) struct Input {
    file: File,
    name: String,
    is_standard_input: bool,
}

impl Input {
    /// The file at this path; standard input for none or `-`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            if TAKEN.swap(true, Ordering::Relaxed) {
                return Err(CliError::StandardInputTwice);
            }
            let name = "standard input";
            let file = standard_input().map_err(|error| CliError::read(name, error))?;
            widen_pipe(&file);
            return Ok(Self { file, name: name.into(), is_standard_input: true });
        };
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| CliError::read(&name, error))?;
        widen_pipe(&file);
        Ok(Self { file, name, is_standard_input: false })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes, where that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        let metadata = self.file.metadata().ok()?;
        // Of standard input, something may have been read before.
        (metadata.is_file() && !self.is_standard_input).then_some(metadata.len())
    }

    /// Whether it can be read from anywhere.
    pub(crate) fn is_seekable(&self) -> bool {
        !self.is_standard_input && self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    pub(crate) fn into_reader(self) -> File {
        self.file
    }
}

/// Whether somebody reads standard input already.
static TAKEN: AtomicBool = AtomicBool::new(false);

#[cfg(unix)]
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn standard_input() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    io::stdin().as_handle().try_clone_to_owned().map(File::from)
}

/// Fewer changes between the programs of a pipeline. It may be refused, and is no loss then.
#[cfg(target_os = "linux")]
pub(crate) fn widen_pipe(file: &File) {
    let _ = rustix::pipe::fcntl_setpipe_size(file, 1 << 20);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn widen_pipe(_: &File) {}
