//! What can go wrong between people, and what to do next.

use std::path::PathBuf;

use cc_client::{AttachmentError, Fault};
use cc_core::store::StoreError;

/// Why a command of the conversation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    #[error("there is no profile in {}", .0.display())]
    NoProfile(PathBuf),
    #[error("there is a profile in {} already", .0.display())]
    ProfileExists(PathBuf),
    #[error("the profile in {} was not made completely", .0.display())]
    Unfinished(PathBuf),
    #[error("another process uses the profile in {}", .0.display())]
    InUse(PathBuf),
    #[error("this system does not say where programs keep their data")]
    NoFolder,
    #[error("the key file of the profile has not 32 bytes")]
    KeyFile,
    #[error("the passphrase is wrong, or the key is that of another profile")]
    WrongKey,
    #[error("no randomness")]
    NoRandomness,
    #[error("the store of the profile: {0}")]
    Store(StoreError),
    #[error("{}", chain(.0))]
    Client(Fault),
    #[error("{0:?} is not the address of a relay")]
    Relay(String),
    #[error("neither a link nor a file with one")]
    Link,
    #[error("nobody asks to join as {0:?}")]
    NoSuchRequest(String),
    #[error("{0:?} can be more than one request")]
    ManyRequests(String),
    #[error("this device does not wait for an answer to {0:?}")]
    NoSuchAsk(String),
    #[error("this device does not ask to join anything")]
    NoAsk,
    #[error("it can be more than one request")]
    ManyAsks,
    #[error("there is nothing to pass on")]
    NothingToShare,
    #[error("you have no other device {0:?}")]
    NoSuchOwnDevice(String),
    #[error("{0:?} can be more than one of your devices")]
    ManyOwnDevices(String),
    #[error("the link is of another relay, {theirs}; yours is {ours}")]
    OtherRelay { ours: String, theirs: String },
    #[error("there is no group {0:?}")]
    NoSuchGroup(String),
    #[error("{0:?} can be more than one group")]
    ManyGroups(String),
    #[error("there is nobody {0:?}")]
    NoSuchPerson(String),
    #[error("{0:?} can be more than one person")]
    ManyPeople(String),
    #[error("{0} is not the safety number that this device has for {1}")]
    SafetyNumber(String, String),
    #[error("there is no message {0}")]
    NoSuchMessage(String),
    #[error("message {0} has no attachment")]
    NoAttachment(String),
    #[error("as many attachments are on their way as may be")]
    TooManyUploads,
    #[error("{}: {}", .0, .1)]
    Attachment(String, AttachmentError),
    #[error("the text is not UTF-8, or longer than 1 MiB")]
    Text,
    #[error("there is nothing to send")]
    Nothing,
    #[error("the relay did not answer in time")]
    Timeout,
    #[error("it was refused: {0}")]
    Refused(String),
    #[error("a name is needed")]
    NoName,
    #[error("the address of a relay is needed")]
    NoRelay,
    #[error("the relay: {0}")]
    Serve(String),
    #[error("this is no terminal")]
    NoTerminal,
    #[error("the terminal: {0}")]
    Terminal(std::io::Error),
    #[error("the session ended: {0}")]
    SessionEnded(String),
    #[error("the demonstration went wrong: {0}")]
    Demo(String),
}

impl TalkError {
    pub(crate) const fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoProfile(_) => "make one: cascade init --name NAME --relay https://HOST",
            Self::ProfileExists(_) => "use it, or name another folder with --profile DIR",
            Self::Unfinished(_) => "delete that folder and make it anew: nothing was in it yet",
            Self::InUse(_) => "end the other one first, or wait for it",
            Self::NoFolder => "name a folder with --profile DIR",
            Self::KeyFile => "put back the file `key` that cascade init made",
            Self::WrongKey => "try again",
            Self::Client(Fault::Untrusted(_)) => {
                "compare safety numbers with `cascade members GROUP`, then `cascade verify PERSON NUMBER`, or \
                 take the new keys as they are with `cascade verify --accept PERSON`"
            }
            Self::Client(Fault::NotAMember(_)) => "ask a member to invite you: cascade link",
            Self::Client(Fault::QueueFull) => "wait until the relay is there again",
            Self::Client(Fault::TooLong) => "send it as an attachment: --attach FILE",
            Self::Relay(_) | Self::NoRelay => {
                "write --relay https://HOST or --relay https://HOST:PORT"
            }
            Self::Link | Self::Client(Fault::JoinLink) => {
                "`cascade link` prints one by which you are invited, `cascade link GROUP` one by which others \
                 `cascade join`: cascade:https://HOST#..."
            }
            Self::Client(Fault::JoinLinkExpired) => {
                "ask a member for another one: cascade link GROUP"
            }
            Self::Client(Fault::OtherRecipe) => {
                "make a profile with the layers of the group: cascade init --help"
            }
            Self::Client(Fault::TooManyJoins) => {
                "answer those who ask (cascade requests), or end links: cascade link GROUP --revoke"
            }
            Self::NoSuchRequest(_)
            | Self::ManyRequests(_)
            | Self::Client(Fault::NoSuchJoinRequest(_)) => {
                "`cascade requests` lists who asks; the beginning of an id will do"
            }
            Self::NoSuchAsk(_) | Self::NoAsk | Self::ManyAsks => {
                "`cascade requests --mine` lists what you asked for; the beginning of an id will do"
            }
            Self::NoSuchOwnDevice(_) | Self::ManyOwnDevices(_) => {
                "`cascade device` lists them; the beginning of an id will do"
            }
            Self::Client(Fault::DeviceOffer) => {
                "`cascade device offer FILE`, on the new device, writes one; each is for one device and one time"
            }
            Self::Client(Fault::CannotLink) => {
                "make another profile for this device (cascade init --profile DIR), and offer that one"
            }
            Self::Client(Fault::NoPersonKey) => {
                "do this on the device that your person was made on, or where that was moved to"
            }
            Self::Client(Fault::Export) => "give the passphrase that the export was made with",
            Self::NothingToShare => {
                "messages that disappear, that were deleted, and that others passed on to you stay here"
            }
            Self::OtherRelay { .. } => {
                "both have to use the same relay: make a profile for it with cascade init"
            }
            Self::NoSuchGroup(_) | Self::ManyGroups(_) => {
                "`cascade groups` lists them; the beginning of an id will do"
            }
            Self::NoSuchPerson(_) | Self::ManyPeople(_) => {
                "`cascade members GROUP` lists them; the beginning of an id will do"
            }
            Self::SafetyNumber(..) => {
                "compare again; if it stays so, somebody may be between you: send nothing"
            }
            Self::TooManyUploads => "wait until some of them are sent: cascade receive --follow",
            Self::NoSuchMessage(_) | Self::NoAttachment(_) => {
                "`cascade history GROUP` has the numbers of messages"
            }
            Self::Text => "send it as an attachment: --attach FILE",
            Self::Nothing => "give a text, `-` for standard input, or --attach FILE",
            Self::Timeout => {
                "it is kept, and goes with the next command that reaches the relay; --timeout waits longer"
            }
            Self::NoTerminal => "`cascade send` and `cascade receive` are for scripts",
            Self::SessionEnded(_) => "start it again: nothing that was shown is lost",
            Self::NoName => "write --name NAME",
            _ => return None,
        })
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Relay(_)
            | Self::Link
            | Self::OtherRelay { .. }
            | Self::NoName
            | Self::NoRelay
            | Self::Text
            | Self::Nothing
            | Self::ManyGroups(_)
            | Self::ManyPeople(_)
            | Self::ManyRequests(_)
            | Self::ManyAsks
            | Self::ManyOwnDevices(_)
            | Self::Client(Fault::JoinLink | Fault::DeviceOffer) => 2,
            Self::Attachment(_, AttachmentError::Rejected) => 3,
            Self::WrongKey | Self::Client(Fault::Export) => 4,
            Self::Timeout | Self::Attachment(_, AttachmentError::Service(_)) => 6,
            Self::NoSuchGroup(_)
            | Self::NoSuchPerson(_)
            | Self::NoSuchMessage(_)
            | Self::NoAttachment(_)
            | Self::NoSuchRequest(_)
            | Self::NoSuchAsk(_)
            | Self::NoAsk
            | Self::NothingToShare
            | Self::NoSuchOwnDevice(_)
            | Self::SafetyNumber(..)
            | Self::Refused(_)
            | Self::Client(
                Fault::Untrusted(_)
                | Fault::NotAMember(_)
                | Fault::NoSuchGroup(_)
                | Fault::NoSuchPerson(_)
                | Fault::SafetyNumber(_)
                | Fault::JoinLinkExpired
                | Fault::OtherRecipe
                | Fault::CannotLink
                | Fault::NoPersonKey
                | Fault::NoSuchJoinRequest(_),
            ) => 7,
            _ => 1,
        }
    }
}

impl From<StoreError> for TalkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongKey => Self::WrongKey,
            error => Self::Store(error),
        }
    }
}

impl From<Fault> for TalkError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error.into(),
            fault => Self::Client(fault),
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
