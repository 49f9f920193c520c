//! What is written: standard output, or a file that gets its name when it is complete.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use super::{input::widen_pipe, signals};
use crate::error::{CliError, OutputError};

/// Where a command writes to.
pub(crate) struct Output {
    place: Place,
    name: String,
    is_terminal: bool,
}

enum Place {
    /// Standard output, a device, a named pipe.
    Direct(File),
    /// A temporary file beside the one that it is to become.
    Replace { file: NamedTempFile, target: PathBuf },
}

impl Output {
    /// Standard output for none or `-`. Whoever writes `-` wants it even where it is a terminal.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let name = "standard output".to_owned();
            let file = standard_output()
                .map_err(|source| CliError::Write { name: name.clone(), source })?;
            widen_pipe(&file);
            let is_terminal = path.is_none() && io::stdout().is_terminal();
            return Ok(Self { place: Place::Direct(file), name, is_terminal });
        };
        let name = path.display().to_string();
        let place = match fs::metadata(path) {
            // Devices and named pipes cannot be replaced.
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path);
                Place::Direct(file.map_err(|error| CliError::write(path, error))?)
            }
            existing => {
                // Behind a symbolic link, for that is to stay one.
                let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                let permissions = match existing {
                    Ok(metadata) => Some(metadata.permissions()),
                    Err(_) => None,
                };
                let file = create_temporary(&target, permissions, false)
                    .map_err(|error| CliError::write(path, error))?;
                Place::Replace { file, target }
            }
        };
        Ok(Self { place, name, is_terminal: false })
    }

    /// Whether a person is going to see it, who did not ask for bytes.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Says that everything was written: only now is there a file of the name that was asked for.
    pub(crate) fn commit(self) -> Result<(), CliError> {
        match self.place {
            Place::Direct(mut file) => file.flush(),
            Place::Replace { file, target } => commit(file, &target, true),
        }
        .map_err(|source| CliError::Write { name: self.name, source })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.place {
            Place::Direct(file) => file.write(bytes),
            Place::Replace { file, .. } => file.write(bytes),
        };
        written.map_err(|source| {
            if source.kind() == io::ErrorKind::Interrupted {
                return source;
            }
            io::Error::other(OutputError::Io { name: self.name.clone(), source })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails where there is a file of this name: for what is made before it is written, and should not be made in vain.
pub(crate) fn expect_none(path: &Path) -> Result<(), CliError> {
    match path.symlink_metadata() {
        Ok(_) => Err(CliError::Exists { name: path.display().to_string() }),
        Err(_) => Ok(()),
    }
}

/// Writes a file that only its owner can read, and that must not exist.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let write = || {
        let mut file = create_temporary(path, None, true)?;
        file.write_all(bytes)?;
        commit(file, path, false)
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::Exists { name: path.display().to_string() },
        _ => CliError::write(path, error),
    })
}

/// A temporary file in the directory of `target`, which a signal removes.
fn create_temporary(
    target: &Path,
    permissions: Option<fs::Permissions>,
    secret: bool,
) -> io::Result<NamedTempFile> {
    signals::wait()?;
    let mut builder = Builder::new();
    builder.prefix(".cascade-").suffix(".tmp");
    #[cfg(unix)]
    if !secret {
        use std::os::unix::fs::PermissionsExt as _;
        // Never more than the file has that is replaced, and less what the umask takes away.
        let mode = permissions.as_ref().map_or(0o666, |permissions| permissions.mode() & 0o777);
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut state = signals::state();
    let file = builder.tempfile_in(directory(target))?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    state.temporary = Some(file.path().to_owned());
    Ok(file)
}

/// Makes the bytes durable, then gives them their name, then makes that durable.
fn commit(file: NamedTempFile, target: &Path, replace: bool) -> io::Result<()> {
    file.as_file().sync_all()?;
    let mut state = signals::state();
    let persisted = if replace { file.persist(target) } else { file.persist_noclobber(target) };
    state.temporary = None;
    persisted.map_err(|error| error.error)?;
    #[cfg(unix)]
    File::open(directory(target))?.sync_all()?;
    Ok(())
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn standard_output() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}
