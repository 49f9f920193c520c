//! Attachments over services that lose, lie and forget, and uploads and downloads that are killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "test data")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use cc_client::{
    Append, Attachment, AttachmentError, DeliveryService, Download, DownloadStep, Failure, Faults,
    Item, LogId, MemoryService, Page, Position, Publish, Read, Refusal, RequestId, SEGMENT_LEN,
    Upload, UploadStep,
};
use proptest::prelude::*;

/// Bytes that differ everywhere, and are cheap to make again.
struct Pattern {
    at: u64,
    end: u64,
}

impl Pattern {
    fn new(length: u64) -> Self {
        Self { at: 0, end: length }
    }

    fn byte(at: u64) -> u8 {
        (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ (at >> 20) as u8
    }

    fn all(length: u64) -> Vec<u8> {
        (0..length).map(Self::byte).collect()
    }
}

impl io::Read for Pattern {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (out.len() as u64).min(self.end - self.at);
        for (at, byte) in (self.at..).zip(out.iter_mut().take(count as usize)) {
            *byte = Self::byte(at);
        }
        self.at += count;
        Ok(count as usize)
    }
}

/// Checks a pattern as it is written.
struct Check(u64);

impl io::Write for Check {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (at, byte) in (self.0..).zip(bytes) {
            assert_eq!(*byte, Pattern::byte(at), "byte {at}");
        }
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn upload(service: &mut MemoryService, length: u64) -> Attachment {
    let mut upload = Upload::new("pattern.bin", "application/octet-stream").unwrap();
    upload.run(service, Pattern::new(length)).unwrap()
}

fn download(
    service: &mut impl DeliveryService,
    attachment: &Attachment,
) -> Result<Vec<u8>, AttachmentError> {
    let mut out = Vec::new();
    let length = Download::new(attachment.clone()).run(service, &mut out)?;
    assert_eq!(length, out.len() as u64);
    Ok(out)
}

/// A service that shows other pages than it has.
struct Liar<F>(MemoryService, F);

impl<F: FnMut(&mut Page)> DeliveryService for Liar<F> {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        self.0.append(id, append)
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        let mut page = self.0.read(id, read)?;
        (self.1)(&mut page);
        Ok(page)
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        self.0.publish(id, publish)
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        self.0.claim(id, mailbox)
    }
}

#[test]
fn every_length_arrives() {
    let mut service = MemoryService::new();
    let segment = SEGMENT_LEN as u64;
    for length in [0, 1, 1023, 65_536, segment - 1, segment, segment + 1, 2 * segment, 3_333_333] {
        let attachment = upload(&mut service, length);
        assert_eq!(attachment.length(), length);
        assert_eq!(download(&mut service, &attachment).unwrap(), Pattern::all(length), "{length}");
        // What the service sees: at least a kilobyte, and few different lengths.
        let seen: usize = service.log(&attachment.log()).iter().map(|item| item.bytes.len()).sum();
        assert!(seen as u64 >= length.max(1024));
    }
    let alike = [100_400, 102_000].map(|length| {
        let log = upload(&mut service, length).log();
        service.log(&log)[0].bytes.len()
    });
    assert_eq!(alike[0], alike[1]);
}

#[test]
fn twenty_megabytes_over_a_bad_network() {
    let mut service = MemoryService::new();
    let faults = Faults {
        lost_requests: 30,
        lost_replies: 30,
        shuffled_pages: 300,
        busy: 30,
        late_copies: 50,
    };
    service.set_faults(faults, 7);
    let length = 20_000_000;
    let mut upload = Upload::new("a film", "video/mp4").unwrap();
    let attachment = upload.run(&mut service, Pattern::new(length)).unwrap();
    assert_eq!((attachment.name(), attachment.media_type()), ("a film", "video/mp4"));
    let mut check = Check(0);
    assert_eq!(Download::new(attachment).run(&mut service, &mut check).unwrap(), length);
    assert_eq!(check.0, length);
}

#[test]
fn nothing_else_is_taken_for_the_attachment() {
    let mut service = MemoryService::new();
    let length = 3 * SEGMENT_LEN as u64 + 77;
    let attachment = upload(&mut service, length);
    let other = upload(&mut service, length);
    let others = service.log(&other.log());
    type Lie = Box<dyn FnMut(&mut Page)>;
    fn at(page: &mut Page, position: u64) -> Option<&mut Vec<u8>> {
        let item = page.items.iter_mut().find(|item| item.position.0 == position);
        item.map(|item| &mut item.bytes)
    }
    let lies: Vec<(&str, Lie)> = vec![
        (
            "flipped",
            Box::new(move |page| {
                if let Some(bytes) = at(page, 2) {
                    bytes[500_000] ^= 1
                }
            }),
        ),
        (
            "cut short",
            Box::new(move |page| {
                if let Some(bytes) = at(page, 4) {
                    bytes.pop();
                }
            }),
        ),
        (
            "longer",
            Box::new(move |page| {
                if let Some(bytes) = at(page, 4) {
                    bytes.push(0)
                }
            }),
        ),
        (
            "empty",
            Box::new(move |page| {
                if let Some(bytes) = at(page, 1) {
                    bytes.clear()
                }
            }),
        ),
        (
            "swapped",
            Box::new(|page| {
                if page.items.len() > 1 {
                    let (a, b) = (page.items[0].bytes.clone(), page.items[1].bytes.clone());
                    (page.items[0].bytes, page.items[1].bytes) = (b, a);
                }
            }),
        ),
        (
            "of another attachment",
            Box::new(move |page| {
                for item in &mut page.items {
                    item.bytes = others[item.position.0 as usize - 1].bytes.clone();
                }
            }),
        ),
    ];
    for (what, lie) in lies {
        let result = download(&mut Liar(service.clone(), lie), &attachment);
        assert!(matches!(result, Err(AttachmentError::Rejected)), "{what}: {result:?}");
    }
    let truncated = |page: &mut Page| {
        page.items.retain(|item| item.position.0 < 4);
        page.head = Position(3);
    };
    let result = download(&mut Liar(service.clone(), truncated), &attachment);
    assert!(matches!(result, Err(AttachmentError::Incomplete)), "truncated: {result:?}");
    let result = download(&mut MemoryService::new(), &attachment);
    assert!(matches!(result, Err(AttachmentError::Incomplete)), "forgotten: {result:?}");
    let mut deleted = |page: &mut Page| {
        page.items.clear();
        page.forgotten = page.head;
    };
    let result = download(&mut Liar(service.clone(), &mut deleted), &attachment);
    assert!(matches!(result, Err(AttachmentError::Incomplete)), "deleted: {result:?}");
    assert_eq!(download(&mut service, &attachment).unwrap(), Pattern::all(length));
}

/// Who has the key makes segments that open: the sender's digest tells them from the sender's.
#[test]
fn somebody_with_the_key_cannot_show_another_attachment() {
    let mut honest = MemoryService::new();
    let mut first = Upload::new("", "").unwrap();
    let state = first.to_bytes().unwrap();
    let attachment = first.run(&mut honest, Pattern::new(2_000_000)).unwrap();
    // The same key and log, at a service that works with a member, and other bytes of the same length.
    let mut evil = MemoryService::new();
    let forged =
        Upload::resume(&state).unwrap().run(&mut evil, &vec![0x55; 2_000_000][..]).unwrap();
    assert_eq!(forged.length(), attachment.length());
    assert!(matches!(download(&mut evil, &attachment), Err(AttachmentError::Rejected)));
}

#[test]
fn an_error_leaves_a_download_as_it_was() {
    let mut service = MemoryService::new();
    let attachment = upload(&mut service, 2_500_000);
    let mut download = Download::new(attachment);
    let mut out = Vec::new();
    for lie in 0..3 {
        let DownloadStep::Send(request) = download.poll().unwrap() else { panic!() };
        let mut liar = Liar(service.clone(), |page: &mut Page| match lie {
            0 => page.items[0].bytes[100] ^= 1,
            1 => {
                page.items.clear();
                page.head = Position::START;
            }
            _ => page.items.reverse(),
        });
        let answer = request.perform(&mut liar);
        let before = (download.offset(), out.len());
        if download.handle(request.id, answer, &mut out).is_err() {
            assert_eq!((download.offset(), out.len()), before);
        }
    }
    let mut rest = Vec::new();
    download.run(&mut service, &mut rest).unwrap();
    out.extend(rest);
    assert_eq!(out, Pattern::all(2_500_000));
}

/// The service keeps the log, and forgets which requests it did: a retry is refused, and looked up.
#[test]
fn a_service_that_forgets_requests_gets_no_segment_twice() {
    let inner = MemoryService::new();
    struct Forgetful(MemoryService, u64);
    impl DeliveryService for Forgetful {
        fn append(&mut self, _: RequestId, append: &Append) -> Result<Position, Failure> {
            let position = self.0.append(RequestId::random().unwrap(), append)?;
            self.1 += 1;
            if self.1 % 2 == 1 { Err(Failure::Unknown) } else { Ok(position) }
        }
        fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
            self.0.read(id, read)
        }
        fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
            self.0.publish(id, publish)
        }
        fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
            self.0.claim(id, mailbox)
        }
    }
    let mut service = Forgetful(inner.clone(), 0);
    let mut upload = Upload::new("", "").unwrap();
    let attachment = upload.run(&mut service, Pattern::new(4_000_000)).unwrap();
    assert_eq!(inner.log(&attachment.log()).len(), 4);
    assert_eq!(download(&mut service, &attachment).unwrap(), Pattern::all(4_000_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// An upload and a download that are killed between any two requests, or in the middle of one, and go on
    /// from any state that was saved before.
    #[test]
    fn killed_anywhere_it_comes_to_the_same_end(
        length in 0u64..3_500_000,
        kills in prop::collection::vec((any::<bool>(), any::<bool>(), any::<prop::sample::Index>()), 0..12),
    ) {
        let mut service = MemoryService::new();
        let data = Pattern::all(length);
        let mut upload = Upload::new("n", "t").unwrap();
        let mut states = vec![upload.to_bytes().unwrap()];
        let mut kills = kills.into_iter();
        let attachment = loop {
            match upload.poll().unwrap() {
                UploadStep::Done(attachment) => break attachment,
                UploadStep::Plaintext { offset, at_most } => {
                    let rest = &data[offset as usize..];
                    let rest = &rest[..rest.len().min(at_most)];
                    if rest.is_empty() { upload.end().unwrap() } else { upload.push(rest).unwrap(); }
                }
                UploadStep::Send(request) => {
                    let kill = kills.next();
                    if let Some((arrives, true, at)) = kill {
                        if arrives {
                            let _lost = request.perform(&mut service);
                        }
                        upload = Upload::resume(at.get(&states)).unwrap();
                        continue;
                    }
                    let answer = request.perform(&mut service);
                    let _again = upload.handle(request.id, answer).unwrap();
                    states.push(upload.to_bytes().unwrap());
                }
            }
        };
        prop_assert_eq!(attachment.length(), length);
        let mut download = Download::new(attachment.clone());
        let mut states = vec![download.to_bytes()];
        let (mut out, mut kill) = (Vec::new(), 0usize);
        while let DownloadStep::Send(request) = download.poll().unwrap() {
            let answer = request.perform(&mut service);
            let _again = download.handle(request.id, answer, &mut out).unwrap();
            kill += 1;
            if kill % 2 == 1 && kill < 9 {
                // Killed before the state was saved, or after it.
                if kill % 3 == 0 { states.push(download.to_bytes()); }
                download = Download::resume(attachment.clone(), states.last().unwrap()).unwrap();
                out.truncate(download.offset() as usize);
            } else {
                states.push(download.to_bytes());
            }
        }
        prop_assert_eq!(out, data);
    }
}

#[test]
fn what_is_no_state_is_refused() {
    let mut service = MemoryService::new();
    let attachment = upload(&mut service, 10);
    let other = upload(&mut service, 10);
    let state = Download::new(attachment.clone()).to_bytes();
    assert!(matches!(Download::resume(other, &state), Err(AttachmentError::State)));
    for len in 0..state.len() {
        assert!(Download::resume(attachment.clone(), &state[..len]).is_err());
    }
    let state = Upload::new("name", "type").unwrap().to_bytes().unwrap();
    for len in 0..state.expose().len() {
        let cut = cc_core::SecretBytes::new(state.expose()[..len].to_vec());
        assert!(matches!(Upload::resume(&cut), Err(AttachmentError::State)));
    }
    assert!(matches!(Upload::new("n".repeat(256), ""), Err(AttachmentError::TooLong)));
}

/// Another file under the same state: nothing is mixed where the log has the segment already.
#[test]
fn a_file_that_changed_is_told() {
    let mut service = MemoryService::new();
    let mut first = Upload::new("", "").unwrap();
    let state = first.to_bytes().unwrap();
    first.run(&mut service, &vec![1; 1_500_000][..]).unwrap();
    let again = Upload::resume(&state).unwrap().run(&mut service, &vec![2; 1_500_000][..]);
    assert!(matches!(again, Err(AttachmentError::Changed)), "{again:?}");
}

/// What a service has forgotten meanwhile, for its age or because there is more than it keeps, is told to who
/// sends, and not only to who reads.
#[test]
fn an_upload_whose_beginning_is_forgotten_is_not_done() {
    let length = 3 * SEGMENT_LEN as u64;
    let begin = |sent| {
        let mut service = MemoryService::new();
        let mut upload = Upload::new("", "").unwrap();
        let mut states = vec![upload.to_bytes().unwrap()];
        let mut plaintext = Pattern::new(length);
        for _ in 0..sent {
            assert!(upload.advance(&mut service, &mut plaintext).unwrap().is_none());
            states.push(upload.to_bytes().unwrap());
        }
        (service, states)
    };
    let resume = |service: &mut MemoryService, state: &cc_core::SecretBytes| {
        let mut upload = Upload::resume(state).unwrap();
        let at = upload.offset();
        upload.run(service, Pattern { at, end: length })
    };
    for sent in [1, 2, 3] {
        let (mut service, states) = begin(sent);
        let log = saved_log(&service, &states);
        service.forget(&log, Position(1));
        // Of the state after all that was sent, or of one before.
        for state in &states {
            let result = resume(&mut service, state);
            assert!(matches!(result, Err(AttachmentError::NotKept)), "{sent}: {result:?}");
        }
        // One that is lost from its end on, as where an old copy of the service was put back.
        let (_, states) = begin(sent);
        let result = resume(&mut MemoryService::new(), states.last().unwrap());
        assert!(matches!(result, Err(AttachmentError::Incomplete)), "{sent}: {result:?}");
    }
}

/// The address in a saved state.
fn saved_log(service: &MemoryService, states: &[cc_core::SecretBytes]) -> LogId {
    let state = states[0].expose();
    let log = LogId::from_bytes(state[1..33].try_into().unwrap());
    assert_eq!(service.log(&log).len(), states.len() - 1);
    log
}

#[test]
fn secrets_do_not_show() {
    let mut service = MemoryService::new();
    let attachment = upload(&mut service, 10);
    let shown = format!("{attachment:?} {:?}", Download::new(attachment.clone()));
    assert!(!shown.contains("key") && !shown.contains("pattern.bin"), "{shown}");
}

/// Keeps segments in a file, as a service does that has to keep many.
struct FileService {
    file: File,
    items: BTreeMap<u64, (u64, usize)>,
}

impl DeliveryService for FileService {
    fn append(&mut self, _: RequestId, append: &Append) -> Result<Position, Failure> {
        let head = Position(self.items.len() as u64);
        if append.commit.is_none_or(|commit| commit.after != head) {
            return Err(Failure::Refused(Refusal::Conflict { head }));
        }
        let start = self.file.seek(SeekFrom::End(0)).unwrap();
        self.file.write_all(&append.items[0]).unwrap();
        self.items.insert(head.0 + 1, (start, append.items[0].len()));
        Ok(head.next())
    }

    fn read(&mut self, _: RequestId, read: &Read) -> Result<Page, Failure> {
        let head = Position(self.items.len() as u64);
        let mut items = Vec::new();
        for (&position, &(start, len)) in self.items.range(read.after.0 + 1..).take(3) {
            let mut bytes = vec![0; len];
            self.file.seek(SeekFrom::Start(start)).unwrap();
            self.file.read_exact(&mut bytes).unwrap();
            items.push(Item { position: Position(position), commit: true, bytes });
        }
        Ok(Page { items, forgotten: Position::START, head })
    }

    fn publish(&mut self, _: RequestId, _: &Publish) -> Result<u32, Failure> {
        Err(Failure::Unknown)
    }

    fn claim(&mut self, _: RequestId, _: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        Err(Failure::Unknown)
    }
}

/// Most memory that this process had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "long: a gigabyte; alone in its process"]
fn a_gigabyte_takes_little_memory() {
    let mut service = FileService { file: tempfile::tempfile().unwrap(), items: BTreeMap::new() };
    let length = (1 << 30) + 12_345;
    let before = peak();
    let attachment =
        Upload::new("big", "").unwrap().run(&mut service, Pattern::new(length)).unwrap();
    let uploaded = peak();
    let mut check = Check(0);
    assert_eq!(Download::new(attachment).run(&mut service, &mut check).unwrap(), length);
    let downloaded = peak();
    eprintln!(
        "upload took {} KiB, download {} KiB",
        (uploaded - before) / 1024,
        (downloaded - uploaded) / 1024
    );
    assert!(downloaded - before < 24 << 20);
}
