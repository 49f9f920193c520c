//! Attachments on their way. What is needed to go on is kept until the message is sent that says where the attachment
//! is: a send that breaks at any point, by a kill of either side, goes on where it was.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use cc_client::{
    AppRecord, Attachment, AttachmentError, Client, EventId, Failure, Fault, GroupId, OperationId,
    Refusal, Upload,
};
use cc_core::SecretBytes;
use cc_relay::HttpService;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::{error::TalkError, journal, network::Arrival};
use crate::error::CliError;

/// Attachments on their way at the same time.
const MAX_UPLOADS: usize = 64;

/// Which there are: ids of operations.
const INDEX: &[u8] = b"uploads";

/// Between two attempts to reach the relay.
const PAUSE: Duration = Duration::from_secs(1);

/// How often an upload begins anew, in another log, where the relay has lost what it had.
const BEGINNINGS: u32 = 3;

/// How often where the relay does not keep the beginning: it may have grown too old, but it may be too much as well.
const AFTER_FORGETTING: u32 = 1;

/// An attachment that is not there yet.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptUpload {
    pub(crate) operation: OperationId,
    pub(crate) group: GroupId,
    /// What is said with it.
    pub(crate) text: String,
    path: StoredPath,
    stamp: Stamp,
    /// Of [`Upload::to_bytes`], after the last segment that is known to have arrived. It has the key.
    pub(crate) state: Vec<u8>,
}

impl Drop for KeptUpload {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}

/// By which another file in the place of one is known: a part of each would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    length: u64,
    /// Of the last change, in nanoseconds since 1970; 0 where the system does not tell.
    modified: u64,
}

impl Stamp {
    fn of(file: &File) -> Result<Self, AttachmentError> {
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        Ok(Self { length: metadata.len(), modified })
    }
}

/// A path of any bytes, as the system has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredPath(Vec<u8>);

impl StoredPath {
    #[cfg(unix)]
    fn new(path: &Path) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        Some(Self(path.as_os_str().as_bytes().to_vec()))
    }

    #[cfg(not(unix))]
    fn new(path: &Path) -> Option<Self> {
        path.to_str().map(|path| Self(path.as_bytes().to_vec()))
    }

    #[cfg(unix)]
    fn path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        std::ffi::OsStr::from_bytes(&self.0).into()
    }

    #[cfg(not(unix))]
    fn path(&self) -> PathBuf {
        String::from_utf8_lossy(&self.0).into_owned().into()
    }
}

impl KeptUpload {
    /// Begins an upload of a file.
    pub(crate) fn new(
        operation: OperationId,
        group: GroupId,
        path: &Path,
        text: &str,
    ) -> Result<Self, CliError> {
        let shown = path.display().to_string();
        let unreadable = |error| CliError::read(&shown, error);
        // A later process may be started elsewhere.
        let path = fs::canonicalize(path).map_err(unreadable)?;
        let file = File::open(&path).map_err(unreadable)?;
        let failed = |error| TalkError::Attachment(shown.clone(), error);
        let stamp = Stamp::of(&file).map_err(failed)?;
        let state = new_upload(&path).and_then(|upload| upload.to_bytes()).map_err(failed)?;
        let no_text = || TalkError::Attachment(shown.clone(), AttachmentError::TooLong);
        Ok(Self {
            operation,
            group,
            text: text.to_owned(),
            path: StoredPath::new(&path).ok_or_else(no_text)?,
            stamp,
            state: state.expose().to_vec(),
        })
    }

    /// Sends it in a thread of its own, until all of it is there or cannot be.
    pub(crate) fn start(&self, service: HttpService, to: Sender<Arrival>) {
        let kept = self.clone();
        thread::spawn(move || {
            let operation = kept.operation;
            let result = match kept.send(service, &to) {
                Ok(Some(attachment)) => Ok(attachment),
                // The session is gone, and the next one goes on.
                Ok(None) => return,
                Err(error) => Err(error.to_string()),
            };
            let _ = to.send(Arrival::Uploaded { operation, result });
        });
    }

    /// `None` where nobody waits for it any more.
    fn send(
        &self,
        mut service: HttpService,
        to: &Sender<Arrival>,
    ) -> Result<Option<Attachment>, AttachmentError> {
        let (operation, path) = (self.operation, self.path.path());
        let mut upload = Upload::resume(&SecretBytes::new(self.state.clone()))?;
        let mut file = self.file(&path)?;
        file.seek(SeekFrom::Start(upload.offset()))?;
        let (mut beginnings, mut forgotten) = (0, 0);
        loop {
            let is_lost = match upload.advance(&mut service, &mut file) {
                Ok(Some(attachment)) => {
                    self.file(&path)?;
                    return Ok(Some(attachment));
                }
                Ok(None) => false,
                Err(AttachmentError::Service(
                    Failure::Unknown | Failure::Refused(Refusal::Busy { .. }),
                )) => {
                    thread::sleep(PAUSE);
                    if to.send(Arrival::Woken).is_err() {
                        return Ok(None);
                    }
                    continue;
                }
                Err(AttachmentError::Incomplete) if beginnings < BEGINNINGS => {
                    beginnings += 1;
                    true
                }
                Err(AttachmentError::NotKept) if forgotten < AFTER_FORGETTING => {
                    forgotten += 1;
                    true
                }
                Err(error) => return Err(error),
            };
            if is_lost {
                upload = new_upload(&path)?;
                file.seek(SeekFrom::Start(0))?;
            }
            let state = upload.to_bytes()?;
            if to.send(Arrival::UploadMoved { operation, state }).is_err() {
                return Ok(None);
            }
        }
    }

    /// The file, if it is still the one that this began with.
    fn file(&self, path: &Path) -> Result<File, AttachmentError> {
        let file = File::open(path)?;
        if Stamp::of(&file)? == self.stamp { Ok(file) } else { Err(AttachmentError::Changed) }
    }
}

fn new_upload(path: &Path) -> Result<Upload, AttachmentError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Upload::new(name, media_type(path))
}

/// Keeps an upload that is new, or further than it was.
///
/// # Errors
/// [`TalkError::TooManyUploads`], [`TalkError::Client`].
pub(crate) fn keep(client: &mut Client, upload: &KeptUpload) -> Result<(), TalkError> {
    let mut index = index(client)?;
    let mut records = vec![journal::put(key(&upload.operation), upload)?];
    if !index.contains(&upload.operation) {
        if index.len() >= MAX_UPLOADS {
            return Err(TalkError::TooManyUploads);
        }
        index.push(upload.operation);
        records.push(journal::put(INDEX.to_vec(), &index)?);
    }
    Ok(client.acknowledge(EventId(0), &records)?)
}

/// All that are not sent.
pub(crate) fn all(client: &Client) -> Result<Vec<KeptUpload>, Fault> {
    let mut uploads = Vec::new();
    for operation in index(client)? {
        uploads.extend(journal::get::<KeptUpload>(client, &key(&operation))?);
    }
    Ok(uploads)
}

/// What is to be committed with the message, or without one.
pub(crate) fn ended(client: &Client, operation: &OperationId) -> Result<Vec<AppRecord>, Fault> {
    let mut index = index(client)?;
    index.retain(|known| known != operation);
    Ok(vec![journal::put(INDEX.to_vec(), &index)?, AppRecord { key: key(operation), value: None }])
}

fn index(client: &Client) -> Result<Vec<OperationId>, Fault> {
    Ok(journal::get(client, INDEX)?.unwrap_or_default())
}

fn key(operation: &OperationId) -> Vec<u8> {
    [b"upload ", &operation.as_bytes()[..]].concat()
}

/// What a file is, by its name; nothing where the name does not tell.
fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "txt" | "md" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
