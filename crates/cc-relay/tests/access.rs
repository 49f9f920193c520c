//! Who may read, append, publish and claim.

use cc_client::{
    Call, Failure, LogId, MAX_PACKAGE_LEN, MAX_PUBLISH, MailboxKey, Position, Publish,
    PublishedPackage, Purpose, Refusal, Reply, Request,
};
use cc_relay::Relay;

use crate::common::{
    self, DENIED, append, appended, commit, http, id, memory, open_relay, page, raw, read,
    read_mailbox, token,
};

#[test]
fn who_was_removed_and_who_never_was_there_gets_nothing() {
    let (_relay, service) = open_relay();
    let log = LogId::random().unwrap();
    let [old, new, outsider] = [1, 2, 3].map(token);
    assert_eq!(service.perform(&append(log, Some(&old), &[b"one"])), appended(1));
    // The commit that removes somebody, who has the old token only.
    assert_eq!(service.perform(&commit(log, &old, 0, Some(&new))), appended(2));
    assert_eq!(service.perform(&append(log, Some(&new), &[b"secret"])), appended(3));
    let conflict = Err(Failure::Refused(Refusal::Conflict { head: Position(2) }));
    assert_eq!(service.perform(&append(log, Some(&old), &[b"still here"])), conflict);
    assert_eq!(service.perform(&commit(log, &old, 2, Some(&old))), conflict);
    let seen = page(service.perform(&read(log, 0, &old)));
    assert_eq!((seen.items.len(), seen.head), (2, Position(2)), "up to the removal");
    assert!(page(service.perform(&read(log, 2, &old))).items.is_empty());
    assert_eq!(service.perform(&read(log, 0, &outsider)), DENIED);
    assert_eq!(service.perform(&append(log, Some(&outsider), &[b"flood"])), DENIED);
    // Without a token it goes to a mailbox, which is not this log.
    assert_eq!(service.perform(&append(log, None, &[b"flood"])), appended(1));
    assert_eq!(service.perform(&commit(log, &outsider, 2, Some(&outsider))), DENIED);
    assert_eq!(page(service.perform(&read(log, 0, &new))).items.len(), 3);
}

#[test]
fn a_mailbox_opens_for_its_owner_alone() {
    let (_relay, service) = open_relay();
    let [alice, mallory] = [(); 2].map(|()| MailboxKey::generate().unwrap());
    let mailbox = alice.address();
    let welcome = append(mailbox, None, &[b"welcome"]);
    assert_eq!(service.perform(&welcome), appended(1));
    // With a key of one's own, for another request, or for another position.
    let mut foreign = read_mailbox(&mallory, 0);
    let honest = read_mailbox(&alice, 0);
    if let (Call::Read(foreign), Call::Read(honest)) = (&mut foreign.call, &honest.call) {
        foreign.log = honest.log;
    }
    assert_eq!(service.perform(&foreign), DENIED);
    assert_eq!(service.perform(&Request { id: id(), ..honest.clone() }), DENIED);
    let mut further = honest.clone();
    if let Call::Read(read) = &mut further.call {
        read.after = Position(1);
    }
    assert_eq!(service.perform(&further), DENIED);
    let group = page(service.perform(&read(mailbox, 0, &token(1))));
    assert_eq!((group.items.len(), group.head), (0, Position(0)), "a group there is another log");
    assert_eq!(page(service.perform(&honest)).items.len(), 1);
    // Key packages are the owner's to publish.
    let package = PublishedPackage { bytes: b"package".to_vec(), last_resort: false };
    let publish = |key: &MailboxKey, id| {
        let packages = vec![package.clone()];
        let proof = key.prove(id, Purpose::Publish(&packages));
        Request { id, call: Call::Publish(Publish { mailbox, proof, packages }) }
    };
    assert_eq!(service.perform(&publish(&mallory, id())), DENIED);
    let published = publish(&alice, id());
    assert_eq!(service.perform(&published), Ok(Reply::Published { remaining: 1 }));
    let mut changed = published;
    if let Call::Publish(publish) = &mut changed.call {
        publish.packages[0].bytes.push(1);
    }
    assert_eq!(service.perform(&changed), DENIED);
    let claim = Request { id: id(), call: Call::Claim(mailbox) };
    let claimed = Ok(Reply::Claimed(Some(b"package".to_vec())));
    assert_eq!(service.perform(&claim), claimed);
    assert_eq!(service.perform(&claim), claimed, "the same request");
    let another = Request { id: id(), call: Call::Claim(mailbox) };
    assert_eq!(service.perform(&another), Ok(Reply::Claimed(None)));
}

#[test]
fn a_recorded_request_does_nothing_when_it_comes_again() {
    let (relay, service) = open_relay();
    let (log, access, key) = (LogId::random().unwrap(), token(1), MailboxKey::generate().unwrap());
    let recorded = http(&append(log, Some(&access), &[b"pay me"]).to_bytes().unwrap());
    let first = raw(&relay.address(), &recorded);
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    for _ in 0..5 {
        let again = raw(&relay.address(), &recorded);
        assert_eq!(
            again.split_once("\r\n\r\n").unwrap().1,
            first.split_once("\r\n\r\n").unwrap().1
        );
    }
    assert_eq!(page(service.perform(&read(log, 0, &access))).items.len(), 1);
    // A read of a mailbox gives what is still there, and nothing more is deleted by it.
    let old_read = read_mailbox(&key, 0);
    for _ in 0..3 {
        service.perform(&append(key.address(), None, &[b"welcome"])).unwrap();
    }
    assert_eq!(page(service.perform(&old_read)).items.len(), 3);
    assert_eq!(page(service.perform(&read_mailbox(&key, 2))).items.len(), 1);
    assert_eq!(page(service.perform(&old_read)).items.len(), 1);
    assert_eq!(page(service.perform(&read_mailbox(&key, 2))).items.len(), 1);
}

/// Also where it is asked without a network, which refuses them by its encoding.
#[tokio::test]
async fn key_packages_are_bounded_in_length_and_number() {
    let relay = Relay::new(memory(), common::unlimited());
    let key = MailboxKey::generate().unwrap();
    let publish = async |number: usize, length: usize| {
        let package = PublishedPackage { bytes: vec![1; length], last_resort: false };
        let (id, packages) = (id(), vec![package; number]);
        let proof = key.prove(id, Purpose::Publish(&packages));
        let call = Call::Publish(Publish { mailbox: key.address(), proof, packages });
        relay.answer(Request { id, call }).await
    };
    let refused = Err(Failure::Refused(Refusal::TooLarge));
    assert_eq!(publish(1, MAX_PACKAGE_LEN + 1).await, refused);
    assert_eq!(publish(MAX_PUBLISH + 1, 1).await, refused);
    assert_eq!(publish(1, MAX_PACKAGE_LEN).await, Ok(Reply::Published { remaining: 1 }));
    let count = u32::try_from(MAX_PUBLISH).unwrap() + 1;
    assert_eq!(publish(MAX_PUBLISH, 1).await, Ok(Reply::Published { remaining: count }));
}
