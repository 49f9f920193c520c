//! Argon2id: the vector of RFC 9106, and what is refused, remembered and accepted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use cc_aes_layer::{AesError, Argon2Params, Password};

fn cheap(password: &str) -> Password {
    Password::new(password).unwrap().with_params(Argon2Params::LEAST)
}

/// RFC 9106 section 5.3.
#[test]
fn rfc_9106_argon2id() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).unwrap())
        .output_len(32)
        .build()
        .unwrap();
    let mut tag = [0; 32];
    Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
        .unwrap()
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();
    assert_eq!(
        hex::encode(tag),
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    );
}

#[test]
fn bounds_are_those_documented() {
    let good = [(19456, 2, 1), (65536, 3, 4), (1 << 20, 16, 16)];
    let bad = [
        (19455, 2, 1),
        (0, 2, 1),
        (19456, 1, 1),
        (19456, 0, 1),
        (19456, 2, 0),
        ((1 << 20) + 1, 2, 1),
        (u32::MAX, 2, 1),
        (19456, 17, 1),
        (19456, 2, 17),
        (19456, 255, 255),
    ];
    for (memory_kib, passes, lanes) in good {
        assert!(Argon2Params::new(memory_kib, passes, lanes).is_ok());
    }
    for (memory_kib, passes, lanes) in bad {
        assert_eq!(
            Argon2Params::new(memory_kib, passes, lanes),
            Err(AesError::Argon2Bounds { memory_kib, passes, lanes })
        );
    }
    assert_eq!(Password::new("").unwrap_err(), AesError::EmptyPassword);
}

/// Nine thousand derivations would take minutes, on any machine.
#[test]
fn what_is_out_of_bounds_is_refused_without_work() {
    let message = cheap("p").seal(b"", b"text").unwrap();
    let mut headers = vec![];
    for (memory_kib, passes, lanes) in [
        (0u32, 2u8, 1u8),
        (8, 2, 1),
        (19455, 2, 1),
        (19456, 1, 1),
        (19456, 2, 0),
        // Within the bounds, but over the default ceiling.
        ((256 << 10) + 1, 2, 1),
        (19456, 9, 1),
        (1 << 20, 16, 16),
        (u32::MAX, 255, 255),
    ] {
        let mut changed = message.clone();
        changed[0] ^= 1; // A salt that is not known.
        changed[16..20].copy_from_slice(&memory_kib.to_be_bytes());
        changed[20] = passes;
        changed[21] = lanes;
        headers.push(changed);
    }
    // Acceptable parameters on a message that is too short to be one.
    headers.push(message[..message.len() - 5].to_vec());
    let mut opener = cheap("p");
    let started = Instant::now();
    for _ in 0..1000 {
        for header in &headers {
            let refused = opener.open(b"", header);
            assert!(matches!(refused, Err(AesError::Rejected | AesError::Argon2Ceiling { .. })));
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn argon2id_runs_once_per_salt() {
    let mut alice = cheap("p");
    let mut bob = cheap("p");
    let first = Instant::now();
    let message = alice.seal(b"", b"text").unwrap();
    bob.open(b"", &message).unwrap();
    let first = first.elapsed();
    let rest = Instant::now();
    for _ in 0..100 {
        let message = alice.seal(b"", b"text").unwrap();
        assert_eq!(bob.open(b"", &message).unwrap(), b"text");
        // One's own messages as well.
        assert_eq!(alice.open(b"", &message).unwrap(), b"text");
    }
    assert!(rest.elapsed() < first * 50, "{first:?} for one, {:?} for 100", rest.elapsed());
}

#[test]
fn a_forgery_pushes_nothing_out() {
    let mut senders: Vec<_> = (0..3).map(|_| cheap("p")).collect();
    let mut bob = cheap("p");
    let messages: Vec<_> = senders.iter_mut().map(|s| s.seal(b"", b"text").unwrap()).collect();
    for message in &messages {
        bob.open(b"", message).unwrap();
    }
    for salt in 0..10 {
        let mut forgery = messages[0].clone();
        forgery[..16].fill(salt);
        assert_eq!(bob.open(b"", &forgery), Err(AesError::Rejected));
    }
    let started = Instant::now();
    for message in messages.iter().cycle().take(90) {
        assert_eq!(bob.open(b"", message).unwrap(), b"text");
    }
    let ninety = started.elapsed();
    let started = Instant::now();
    cheap("p").open(b"", &messages[0]).unwrap();
    assert!(ninety < started.elapsed() * 40, "{ninety:?}");
}

#[test]
fn more_senders_than_are_remembered_still_open() {
    let mut bob = cheap("p");
    let messages: Vec<_> = (0..10).map(|_| cheap("p").seal(b"", b"text").unwrap()).collect();
    for message in messages.iter().chain(messages.iter().rev()) {
        assert_eq!(bob.open(b"", message).unwrap(), b"text");
    }
}

#[test]
fn the_ceiling_decides_what_is_accepted() {
    let dear = Argon2Params::new(20 << 10, 3, 2).unwrap();
    let message = Password::new("p").unwrap().with_params(dear).seal(b"", b"text").unwrap();
    assert_eq!(cheap("p").open(b"", &message).unwrap(), b"text");
    for ceiling in [
        Argon2Params::LEAST,
        Argon2Params::new((20 << 10) - 1, 3, 2).unwrap(),
        Argon2Params::new(20 << 10, 2, 2).unwrap(),
        Argon2Params::new(20 << 10, 3, 1).unwrap(),
    ] {
        let opened = cheap("p").accept_at_most(ceiling).open(b"", &message);
        assert_eq!(opened, Err(AesError::Argon2Ceiling { asked: dear, ceiling }));
    }
    assert!(cheap("p").accept_at_most(dear).open(b"", &message).is_ok());
    // What one seals under, one accepts.
    let mut same = Password::new("p").unwrap().with_params(dear);
    assert!(same.open(b"", &message).is_ok());
}

/// The salt, parameters and commitment bind even where the key is not known yet.
#[test]
fn flips_in_the_header_are_rejected_by_one_who_never_saw_it() {
    let message = cheap("p").seal(b"", b"text").unwrap();
    let mut bob = cheap("p").accept_at_most(Argon2Params::new(20 << 10, 3, 3).unwrap());
    for bit in [0, 7, 127, 128 + 21, 128 + 31, 128 + 39, 128 + 46, 176, 300, 431] {
        let mut changed = message.clone();
        changed[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(bob.open(b"", &changed), Err(AesError::Rejected), "bit {bit}");
    }
    assert_eq!(bob.open(b"", &message).unwrap(), b"text");
    assert_eq!(bob.open(b"x", &message), Err(AesError::Rejected));
    assert_eq!(cheap("q").open(b"", &message), Err(AesError::Rejected));
}

/// Against what pyca/cryptography's Argon2id and HKDFExpand make of the description.
#[test]
fn a_derived_secret_has_the_documented_bytes() {
    let password = Password::new("correct horse").unwrap();
    let secret = password.derive_secret(&[7; 16], Argon2Params::LEAST).unwrap();
    assert_eq!(
        hex::encode(secret.expose()),
        "e53228f01804629f9f8d45d1ce95fd375d10a0a2362c9a32f83e285b86840e8a"
    );
    let above = Argon2Params::new(257 << 10, 3, 1).unwrap();
    let refused = password.derive_secret(&[7; 16], above);
    assert!(matches!(refused, Err(AesError::Argon2Ceiling { asked, .. }) if asked == above));
}
