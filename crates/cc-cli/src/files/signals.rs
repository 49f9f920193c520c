//! What is put in order when Ctrl-C, SIGTERM or SIGHUP ends the program.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdout, Command, Output},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// What there is to put in order now.
pub(crate) struct State {
    /// A temporary file, to be removed.
    pub(crate) temporary: Option<PathBuf>,
    /// A terminal that does not show what is typed, and its settings of before.
    #[cfg(unix)]
    terminal: Option<(fs::File, rustix::termios::Termios)>,
    /// What gives back a screen that the program draws on.
    screen: Option<fn()>,
    /// Processes that this one has started, to be killed.
    children: Vec<u32>,
    /// A folder that nothing but this process and its children uses, to be removed.
    folder: Option<PathBuf>,
}

static STATE: Mutex<State> = Mutex::new(State {
    temporary: None,
    #[cfg(unix)]
    terminal: None,
    screen: None,
    children: Vec::new(),
    folder: None,
});

/// Whoever changes what there is to put in order holds this meanwhile, so that no signal comes between.
pub(crate) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, signals put things in order before they end the program.
pub(crate) fn wait() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = ctrlc::set_handler(|| {
            let mut state = state();
            if let Some(path) = state.temporary.take() {
                // Nobody is left to be told.
                let _ = fs::remove_file(path);
            }
            if let Some(restore) = state.screen.take() {
                restore();
            }
            // Elsewhere Ctrl-C is for them as well.
            #[cfg(unix)]
            for child in state.children.drain(..) {
                use rustix::process::{Pid, Signal, kill_process};
                if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            if let Some(folder) = state.folder.take() {
                remove_folder(&folder);
            }
            #[cfg(unix)]
            if let Some((terminal, settings)) = state.terminal.take() {
                use rustix::termios::{OptionalActions, tcsetattr};
                let _ = tcsetattr(terminal, OptionalActions::Now, &settings);
            }
            process::exit(STATUS);
        });
    });
    result.map_err(io::Error::other)
}

/// Those who write into it have been killed, which takes a moment.
fn remove_folder(folder: &Path) {
    for _ in 0..50 {
        let _ = fs::remove_dir_all(folder);
        if !folder.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process that signals kill, as does its end.
pub(crate) struct ChildGuard(Child);

impl ChildGuard {
    /// Starts one.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        wait()?;
        let mut state = state();
        let child = command.spawn()?;
        state.children.push(child.id());
        Ok(Self(child))
    }

    /// What it prints, for one who reads it.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// All that it prints, when it has ended by itself.
    pub(crate) fn output(mut self) -> io::Result<Output> {
        let errors = self.0.stderr.take();
        let errors = thread::spawn(move || read(errors));
        let stdout = read(self.0.stdout.take())?;
        let stderr = errors.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        // It has closed both, so it ends.
        self.forget(&mut state());
        Ok(Output { status: self.0.wait()?, stdout, stderr })
    }

    /// It has no time to put anything in order.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let mut state = state();
        self.forget(&mut state);
        self.0.kill()?;
        drop(state);
        self.0.wait().map(drop)
    }

    /// Before it is waited for: its id may be that of another process afterwards.
    fn forget(&self, state: &mut State) {
        state.children.retain(|child| *child != self.0.id());
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // It may have ended, or been killed, before.
        let _ = self.kill();
    }
}

fn read(from: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes)).map(|_| bytes)
}

/// A temporary folder that signals remove, as does its end.
pub(crate) struct FolderGuard(Option<TempDir>);

impl FolderGuard {
    pub(crate) fn new() -> io::Result<Self> {
        wait()?;
        let mut state = state();
        let folder = tempfile::tempdir()?;
        state.folder = Some(folder.path().to_owned());
        Ok(Self(Some(folder)))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for FolderGuard {
    fn drop(&mut self) {
        let mut state = state();
        drop(self.0.take());
        state.folder = None;
    }
}

/// While this lives, signals restore the settings that the terminal has now.
pub(crate) struct TerminalGuard;

impl TerminalGuard {
    pub(crate) fn new() -> io::Result<Self> {
        wait()?;
        #[cfg(unix)]
        if let Ok(terminal) = fs::File::open("/dev/tty")
            && let Ok(settings) = rustix::termios::tcgetattr(&terminal)
        {
            state().terminal = Some((terminal, settings));
        }
        Ok(Self)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            state().terminal = None;
        }
    }
}

/// While this lives, signals give back the screen that the program draws on.
pub(crate) struct ScreenGuard;

impl ScreenGuard {
    pub(crate) fn new(restore: fn()) -> io::Result<Self> {
        wait()?;
        state().screen = Some(restore);
        Ok(Self)
    }
}

impl Drop for ScreenGuard {
    fn drop(&mut self) {
        state().screen = None;
    }
}

/// What shells show for a program that Ctrl-C ended.
const STATUS: i32 = 130;
