//! The primitives beside the libraries that are behind them and OpenSSL, and what the AES layer adds. Prints the tables
//! of docs/performance.md: the fastest of many rounds each, in nanoseconds.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use aes_gcm::{KeyInit as _, aead::AeadInOut as _};
use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{Buffer, Secret};
use cc_manager::CascadingCipherManager;
use cc_primitives::{Backend, aes_gcm::AesGcm, ed25519, p256, x25519};

const SIZES: [usize; 6] = [64, 256, 1024, 16 << 10, 64 << 10, 1 << 20];

fn main() {
    println!("backend: {:?}\n", Backend::in_use());
    let random = least(|| {
        black_box(cc_core::random::array::<24>().unwrap());
    });
    let clean = least(|| cc_core::with_clean_stack::<{ cc_primitives::aes_gcm::STACK }, _>(|| ()));
    println!(
        "24 bytes of the system's randomness: {random:.0}; overwriting the stack: {clean:.0}\n"
    );
    aead();
    layers();
    curves();
}

fn aead() {
    println!("| bytes | aes-gcm | backend | OpenSSL | `seal` | in place | `open` | in place |");
    println!("|---|---|---|---|---|---|---|---|");
    let key = [7; 32];
    let portable = aes_gcm::Aes256Gcm::new((&key).into());
    let backend = AesGcm::aes256(&key);
    let layer = AesKey::copy_from(&key).unwrap();
    for len in SIZES {
        let mut bytes = vec![7; len];
        let nonce = [0; 12];
        let of_portable = least(|| {
            let bytes = black_box(&mut bytes[..]).into();
            black_box(portable.encrypt_inout_detached((&nonce).into(), b"", bytes).unwrap());
        });
        let of_backend = least(|| {
            black_box(backend.seal(&nonce, b"", black_box(&mut bytes)).unwrap());
        });
        let seal = least(|| {
            black_box(layer.seal(b"", black_box(&bytes)).unwrap());
        });
        let sealed = layer.seal(b"", &bytes).unwrap();
        let open = least(|| {
            black_box(layer.open(b"", black_box(&sealed)).unwrap());
        });
        let mut in_place = Duration::MAX;
        let mut opened = Duration::MAX;
        for _ in 0..(20_000_000 / (len + 2000)) {
            let mut buffer = Buffer::new(&bytes);
            let start = Instant::now();
            layer.seal_in_place(b"", &mut buffer).unwrap();
            let middle = Instant::now();
            layer.open_in_place(b"", &mut buffer).unwrap();
            in_place = in_place.min(middle - start);
            opened = opened.min(middle.elapsed());
        }
        let openssl = openssl(len);
        println!(
            "| {len} | {of_portable:.0} | {of_backend:.0} | {} | {seal:.0} | {} | {open:.0} | {} |",
            openssl.map_or_else(|| "-".into(), |of_openssl| format!("{of_openssl:.0}")),
            in_place.as_nanos(),
            opened.as_nanos(),
        );
        let row = len.to_string();
        let figure = |table, series, value| cc_benches::figure(table, &row, series, "ns", value);
        cc_benches::time("primitives/seal", &row, "`AesKey`, in place", in_place);
        figure("primitives/seal", "`AesKey`", seal);
        figure("primitives/seal", "backend", of_backend);
        figure("primitives/seal", "aes-gcm", of_portable);
        if let Some(of_openssl) = openssl {
            figure("primitives/seal", "OpenSSL", of_openssl);
        }
        cc_benches::time("primitives/open", &row, "`AesKey`, in place", opened);
        figure("primitives/open", "`AesKey`", open);
    }
    println!();
}

fn layers() {
    println!(
        "| bytes | `AesKey` seal | stack of 1, 2, 3: seal | `AesKey` open | stack of 1, 2, 3: open |"
    );
    println!("|---|---|---|---|---|");
    for len in [64, 1024, 16 << 10, 1 << 20] {
        let text = vec![7; len];
        let alone = AesKey::copy_from(&[9; 32]).unwrap();
        // As many bytes as a layer of a stack authenticates beside its text.
        let context = [7; 34];
        let sealed = alone.seal(&context, &text).unwrap();
        let seal = least(|| {
            black_box(alone.seal(&context, black_box(&text)).unwrap());
        });
        let open = least(|| {
            black_box(alone.open(&context, black_box(&sealed)).unwrap());
        });
        let (mut seals, mut opens) = (Vec::new(), Vec::new());
        for layers in 1..=3u8 {
            let builder = (0..layers).fold(CascadingCipherManager::builder(), |builder, i| {
                builder.layer(AesLayer::new(AesKey::copy_from(&[i; 32]).unwrap()))
            });
            let mut manager = builder.build().unwrap();
            let wire = manager.encrypt(&text).unwrap();
            let seal = least(|| {
                black_box(manager.encrypt(black_box(&text)).unwrap());
            });
            let open = least(|| {
                black_box(manager.decrypt(black_box(&wire)).unwrap());
            });
            seals.push(format!("{seal:.0}"));
            opens.push(format!("{open:.0}"));
            let (row, series) = (len.to_string(), format!("stack of {layers}"));
            cc_benches::figure("primitives/stack, seal", &row, &series, "ns", seal);
            cc_benches::figure("primitives/stack, open", &row, &series, "ns", open);
        }
        cc_benches::figure("primitives/stack, seal", &len.to_string(), "`AesKey`", "ns", seal);
        cc_benches::figure("primitives/stack, open", &len.to_string(), "`AesKey`", "ns", open);
        println!("| {len} | {seal:.0} | {} | {open:.0} | {} |", seals.join(", "), opens.join(", "));
    }
    println!();
}

fn curves() {
    println!("| | portable | backend | |");
    println!("|---|---|---|---|");
    let bytes = [7; 32];
    let secret = Secret::copy_from(&bytes).unwrap();
    let line = |name: &str, portable: f64, backend: f64| {
        println!("| {name} | {portable:.0} | {backend:.0} | {:.2} |", backend / portable);
        cc_benches::figure("primitives/curves", name, "backend", "ns", backend);
        cc_benches::figure("primitives/curves", name, "RustCrypto and dalek", "ns", portable);
    };
    {
        use x25519_dalek::{PublicKey, StaticSecret};
        let peer = x25519::public_key(&secret);
        let portable = least(|| {
            black_box(StaticSecret::from(bytes).diffie_hellman(&PublicKey::from(peer)));
        });
        let backend = least(|| {
            black_box(x25519::agree(&secret, &peer).unwrap());
        });
        line("X25519, agree", portable, backend);
        let portable = least(|| {
            black_box(PublicKey::from(&StaticSecret::from(bytes)));
        });
        let backend = least(|| {
            black_box(x25519::public_key(&secret));
        });
        line("X25519, public key", portable, backend);
    }
    {
        let peer = p256::public_key(&secret).unwrap();
        let portable = least(|| {
            let secret = ::p256::SecretKey::from_slice(&bytes).unwrap();
            let peer = ::p256::PublicKey::from_sec1_bytes(&peer).unwrap();
            black_box(::p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine()));
        });
        let backend = least(|| {
            black_box(p256::agree(&secret, &peer).unwrap());
        });
        line("P-256, agree", portable, backend);
        let portable = least(|| {
            black_box(::p256::SecretKey::from_slice(&bytes).unwrap().public_key());
        });
        let backend = least(|| {
            black_box(p256::public_key(&secret).unwrap());
        });
        line("P-256, public key", portable, backend);
    }
    {
        use ed25519_dalek::{Signer as _, SigningKey, Verifier as _};
        let message = [7; 300];
        let portable_key = SigningKey::from_bytes(&bytes);
        let key = ed25519::SigningKey::from_seed(&secret);
        let portable = least(|| {
            black_box(portable_key.sign(&message));
        });
        let backend = least(|| {
            black_box(key.sign(&message));
        });
        line("Ed25519, sign", portable, backend);
        let signature = portable_key.sign(&message);
        let portable_key = portable_key.verifying_key();
        let key = ed25519::VerifyingKey::from_bytes(&key.public_key()).unwrap();
        let portable = least(|| portable_key.verify(black_box(&message), &signature).unwrap());
        let signature = signature.to_bytes();
        let backend = least(|| key.verify(black_box(&message), &signature).unwrap());
        line("Ed25519, verify", portable, backend);
    }
}

/// The time of one operation, in nanoseconds: the least of the means of many batches.
fn least(mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..16).for_each(|_| operation());
    let once = start.elapsed().as_secs_f64() / 16.0;
    // About 100 us a batch, and a fifth of a second in all.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a cast of floats saturates, and it is bounded"
    )]
    let batch = ((1e-4 / once) as u32).clamp(1, 2000);
    let start = Instant::now();
    let mut least = f64::MAX;
    while start.elapsed() < Duration::from_millis(200) {
        let begun = Instant::now();
        (0..batch).for_each(|_| operation());
        least = least.min(begun.elapsed().as_secs_f64() / f64::from(batch));
    }
    least * 1e9
}

/// The time of one message by `openssl speed`, in nanoseconds, where it is installed.
/// Nanoseconds, where the program is there.
fn openssl(len: usize) -> Option<f64> {
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-evp", "aes-256-gcm", "-seconds", "1", "-bytes", &len.to_string()])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.ok()?;
    let line = text.lines().find(|line| line.starts_with("+F:"))?;
    let rate = line.rsplit(':').next()?.parse::<f64>().ok()?;
    Some(len as f64 / rate * 1e9)
}
