//! What is put in order when Ctrl-C, SIGTERM or SIGHUP ends the program.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

/// What there is to put in order now.
pub(crate) struct State {
    /// A temporary file, to be removed.
    pub(crate) temporary: Option<PathBuf>,
    /// A terminal that does not show what is typed, and its settings of before.
    #[cfg(unix)]
    terminal: Option<(fs::File, rustix::termios::Termios)>,
    /// What gives back a screen that the program draws on.
    screen: Option<fn()>,
}

static STATE: Mutex<State> = Mutex::new(State {
    temporary: None,
    #[cfg(unix)]
    terminal: None,
    screen: None,
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
