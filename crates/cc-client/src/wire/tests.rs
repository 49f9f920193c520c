use proptest::{collection::vec, option, prelude::*};

use super::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn token() -> impl Strategy<Value = AccessToken> {
    any::<[u8; 32]>().prop_map(|mut token| AccessToken::new(Secret::take(&mut token)))
}

fn proof() -> impl Strategy<Value = MailboxProof> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(public_key, r, s)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(&s);
        MailboxProof { public_key, signature }
    })
}

fn log() -> impl Strategy<Value = LogId> {
    any::<[u8; 32]>().prop_map(LogId::from_bytes)
}

fn call() -> impl Strategy<Value = Call> {
    let follows = (any::<u64>(), option::of(any::<[u8; 32]>()))
        .prop_map(|(after, next)| Follows { after: Position(after), next: next.map(AccessHash) });
    let append = (log(), option::of(token()), option::of(follows), vec(bytes(), 0..9))
        .prop_map(|(log, access, commit, items)| Append { log, access, commit, items });
    let access =
        prop_oneof![token().prop_map(ReadAccess::Token), proof().prop_map(ReadAccess::Owner)];
    let read = (log(), any::<u64>(), access).prop_map(|(log, after, access)| Read {
        log,
        after: Position(after),
        access,
    });
    let package = (bytes(), any::<bool>())
        .prop_map(|(bytes, last_resort)| PublishedPackage { bytes, last_resort });
    let publish = (log(), proof(), vec(package, 0..9))
        .prop_map(|(mailbox, proof, packages)| Publish { mailbox, proof, packages });
    prop_oneof![
        append.prop_map(Call::Append),
        read.prop_map(Call::Read),
        publish.prop_map(Call::Publish),
        log().prop_map(Call::Claim),
    ]
}

fn result() -> impl Strategy<Value = Result<Reply, Failure>> {
    let item = (any::<u64>(), any::<bool>(), bytes()).prop_map(|(position, commit, bytes)| Item {
        position: Position(position),
        commit,
        bytes,
    });
    let page =
        (vec(item, 0..9), any::<u64>(), any::<u64>()).prop_map(|(items, forgotten, head)| Page {
            items,
            forgotten: Position(forgotten),
            head: Position(head),
        });
    let refusal = prop_oneof![
        any::<u64>().prop_map(|head| Refusal::Conflict { head: Position(head) }),
        Just(Refusal::Denied),
        Just(Refusal::Gone),
        Just(Refusal::TooLarge),
        any::<u64>().prop_map(|retry_after| Refusal::Busy { retry_after }),
    ];
    prop_oneof![
        any::<u64>().prop_map(|position| Ok(Reply::Appended(Position(position)))),
        page.prop_map(|page| Ok(Reply::Page(page))),
        any::<u32>().prop_map(|remaining| Ok(Reply::Published { remaining })),
        option::of(bytes()).prop_map(|package| Ok(Reply::Claimed(package))),
        refusal.prop_map(|refusal| Err(Failure::Refused(refusal))),
        Just(Err(Failure::Unknown)),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(id: [u8; 16], call in call()) {
        let request = Request { id: RequestId::from_bytes(id), call };
        let bytes = request.to_bytes().unwrap();
        prop_assert_eq!(Request::from_bytes(&bytes), Ok(request));
        for len in 0..bytes.len() {
            prop_assert!(Request::from_bytes(&bytes[..len]).is_err());
        }
        prop_assert!(Request::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn answers_come_back(id: [u8; 16], result in result()) {
        let answer = Answer { id: RequestId::from_bytes(id), result };
        let bytes = answer.to_bytes().unwrap();
        prop_assert_eq!(Answer::from_bytes(&bytes), Ok(answer));
        for len in 0..bytes.len() {
            prop_assert!(Answer::from_bytes(&bytes[..len]).is_err());
        }
        prop_assert!(Answer::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_changed_byte_gives_an_error_or_another_request(
        call in call(), at: usize, by in 1_u8..,
    ) {
        let request = Request { id: RequestId::from_bytes([7; 16]), call };
        let mut bytes = request.to_bytes().unwrap();
        let at = at % bytes.len();
        bytes[at] ^= by;
        if let Ok(other) = Request::from_bytes(&bytes) {
            prop_assert_ne!(&other, &request);
            prop_assert_eq!(other.to_bytes().unwrap(), bytes);
        }
    }
}

#[test]
fn the_example_of_the_document() {
    let document = include_str!("../../../../docs/relay-protocol.md");
    let (_, example) = document.split_once("## Example").unwrap();
    let blocks: Vec<Vec<u8>> = example
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let bytes = |line: &str| -> Vec<u8> {
                // What follows on two spaces is a comment.
                let tokens = line.split("  ").next().unwrap_or_default().split_whitespace();
                tokens.map_while(|hex| u8::from_str_radix(hex, 16).ok()).collect()
            };
            block.lines().flat_map(bytes).collect()
        })
        .collect();
    let count = |from: u8| std::array::from_fn::<u8, 32, _>(|at| from + u8::try_from(at).unwrap());
    let mut id = [0; 16];
    id.copy_from_slice(&count(0x10)[..16]);
    let id = RequestId::from_bytes(id);
    let token = AccessToken::new(Secret::take(&mut [0xaa; 32]));
    let hash: String = token.hash().0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(example.contains(&hash), "{hash}");
    let (log, after) = (LogId::from_bytes(count(0)), Position(7));
    let read = Read { log, after, access: ReadAccess::Token(token) };
    let request = Request { id, call: Call::Read(read) };
    assert_eq!(request.to_bytes().unwrap(), blocks[0]);
    let item = Item { position: Position(8), commit: false, bytes: b"hello".to_vec() };
    let page = Page { items: vec![item], forgotten: Position(0), head: Position(8) };
    let answer = Answer { id, result: Ok(Reply::Page(page)) };
    assert_eq!(answer.to_bytes().unwrap(), blocks[1]);
    let key = crate::MailboxKey::from_seed(&Secret::take(&mut [1; 32]));
    assert!(example.contains(&key.address().to_string()));
    let proof = key.prove(id, crate::Purpose::Read(after));
    assert_eq!(proof.signature[..], blocks[2]);
}

#[test]
fn too_many_and_too_long_are_refused() {
    let append = |items| Request {
        id: RequestId::from_bytes([7; 16]),
        call: Call::Append(Append {
            log: LogId::from_bytes([8; 32]),
            access: None,
            commit: None,
            items,
        }),
    };
    assert!(append(vec![vec![]; MAX_APPEND]).to_bytes().is_ok());
    assert_eq!(append(vec![vec![]; MAX_APPEND + 1]).to_bytes(), Err(WireError::TooLong));
    let largest = append(vec![vec![1; MAX_ITEM_LEN]]).to_bytes().unwrap();
    assert!(largest.len() <= MAX_REQUEST_LEN);
    assert!(Request::from_bytes(&largest).is_ok());
    let longer = append(vec![vec![1; MAX_ITEM_LEN + 1]]).to_bytes();
    assert_eq!(longer, Err(WireError::TooLong));
    // As another implementation might write it.
    let mut many = append(vec![]).to_bytes().unwrap();
    many.pop();
    many.extend([0x40, 65]);
    many.extend([0; 65]);
    assert_eq!(Request::from_bytes(&many), Err(WireError::TooLong));
    let mut later = many;
    later[0] = 2;
    assert_eq!(Request::from_bytes(&later), Err(WireError::Unsupported));
}

#[test]
fn the_largest_page_has_bytes() {
    let item = |len| Item { position: Position(1), commit: false, bytes: vec![0; len] };
    let page = |items| Answer {
        id: RequestId::from_bytes([7; 16]),
        result: Ok(Reply::Page(Page { items, forgotten: Position(0), head: Position(9) })),
    };
    let first = page(vec![item(MAX_ITEM_LEN)]).to_bytes().unwrap();
    let full = page(vec![item(MAX_PAGE_LEN / MAX_PAGE); MAX_PAGE]).to_bytes().unwrap();
    for bytes in [first, full] {
        assert!(bytes.len() <= MAX_ANSWER_LEN);
        assert!(Answer::from_bytes(&bytes).is_ok());
    }
    let over = page(vec![item(MAX_PAGE_LEN), item(1)]).to_bytes();
    assert_eq!(over, Err(WireError::TooLong));
}
