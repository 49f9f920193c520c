//! A relay that does TLS by itself.

use cc_client::{Failure, LogId, Position};
use cc_relay::{FollowStream, HttpService, Notice, ServerOptions};

use crate::common::{self, append, appended, http, memory, raw, read, token};

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_a_certificate_of_its_own() {
    let certificate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (ours, other) = (certificate(), certificate());
    let files = (ours.cert.pem(), ours.signing_key.serialize_pem());
    let relay =
        common::start_tls(memory(), common::unlimited(), ServerOptions::default(), Some(files));
    let (url, log) = (relay.secure(), LogId::random().unwrap());
    let request = append(log, Some(&token(1)), &[b"over TLS"]);
    let (trusting, pem) = (url.clone(), ours.cert.pem());
    let wrong = other.cert.pem();
    let results = tokio::task::spawn_blocking(move || {
        let of = |pem: &str| HttpService::with_root_certificate(&trusting, pem.as_bytes()).unwrap();
        let results = [
            of(&pem).perform(&request),
            of(&wrong).perform(&request),
            HttpService::new(&trusting).perform(&request),
        ];
        assert!(HttpService::with_root_certificate(&trusting, b"no PEM").is_err());
        results
    });
    let unknown = Err(Failure::Unknown);
    assert_eq!(results.await.unwrap(), [appended(1), unknown.clone(), unknown]);
    let root = ours.cert.pem();
    let mut follower = FollowStream::connect(&url, Some(root.as_bytes())).await.unwrap();
    follower.follow(&read(log, 0, &token(1))).await.unwrap();
    let moved = Notice::Moved { log, head: Position(1) };
    assert_eq!(follower.next().await.unwrap(), moved);
    assert!(FollowStream::connect(&url, None).await.is_err());
    // A client that speaks no TLS holds nothing up.
    assert_eq!(raw(&relay.address(), &http(b"")).matches("HTTP").count(), 0);
}
