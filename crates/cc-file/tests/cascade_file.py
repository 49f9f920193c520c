#!/usr/bin/env python3
"""The file format of docs/file-format.md a second time, for tests. Needs cryptography 44 or newer and kyber-py 1.2 (PyPI).

    cascade_file.py vectors > vectors/files.json      make the test vectors, the same bytes each time
    cascade_file.py check vectors/files.json          every vector does what it must
    cascade_file.py decrypt KEY-FILE [PASSPHRASE]     standard input to standard output

It is written for reading, not for use: it keeps everything in memory and clears nothing.
"""

import base64
import hashlib
import hmac
import json
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kyber_py.ml_kem import ML_KEM_768

MAGIC = b"\x89CCF\r\n\x1a\n"
X25519, P256, XWING, PASSPHRASE = 0x0020, 0x0010, 0x647A, 0xFF01
CHUNK, TAG = 65536, 16


class Refused(Exception):
    pass


# Keys


class Key:
    """A private key: the id of its KEM, and 32 bytes."""

    def __init__(self, kem, private):
        self.kem, self.private = kem, private
        if kem == XWING:  # draft-connolly-cfrg-xwing-kem-06, section 5.2
            expanded = hashlib.shake_256(private).digest(96)
            ek, self.mlkem = ML_KEM_768._keygen_internal(expanded[:32], expanded[32:64])
            self.x25519 = Key(X25519, expanded[64:])
            self.public = ek + self.x25519.public
        elif kem == X25519:
            self.key = x25519.X25519PrivateKey.from_private_bytes(private)
            self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            self.key = ec.derive_private_key(int.from_bytes(private), ec.SECP256R1())
            point = self.key.public_key()
            self.public = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def agree(self, public):
        if self.kem == X25519:
            return self.key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        return self.key.exchange(ec.ECDH(), point)

    def text(self):
        return bech32m("cascade-secret-key-", self.kem.to_bytes(2) + self.private).upper()

    def recipient(self):
        return bech32m("cascade", self.kem.to_bytes(2) + self.public)

    @staticmethod
    def from_text(text):
        data = bech32m_decode("cascade-secret-key-", text.lower())
        return Key(int.from_bytes(data[:2]), data[2:])


CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= generator if (top >> i) & 1 else 0
    return check


def expand(hrp):
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def regroup(values, width, to, pad):
    bits = "".join(format(value, f"0{width}b") for value in values)
    if pad:
        bits += "0" * (-len(bits) % to)
    return [int(bits[i : i + to], 2) for i in range(0, len(bits) - to + 1, to)]


def bech32m(hrp, data):
    values = regroup(data, 8, 5, True)
    check = polymod(expand(hrp) + values + [0] * 6) ^ 0x2BC830A3
    values += [(check >> 5 * (5 - i)) & 31 for i in range(6)]
    return hrp + "1" + "".join(CHARSET[value] for value in values)


def bech32m_decode(hrp, text):
    front, data = text.rsplit("1", 1)
    values = [CHARSET.index(c) for c in data]
    if front != hrp or polymod(expand(hrp) + values) != 0x2BC830A3:
        raise Refused("key")
    return bytes(regroup(values[:-6], 5, 8, False))


# HPKE (RFC 9180), base mode, HKDF-SHA256, AES-256-GCM


def hkdf(salt, ikm, info, length):
    return HKDF(hashes.SHA256(), length, salt, info).derive(ikm)


def hkdf_expand(prk, info, length=32):
    return HKDFExpand(hashes.SHA256(), length, info).derive(prk)


def labeled_extract(suite, salt, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(suite, prk, label, info, length):
    return hkdf_expand(prk, length.to_bytes(2) + b"HPKE-v1" + suite + label + info, length)


def xwing(mlkem, shared, ephemeral, public):
    """The combiner, section 5.3."""
    return hashlib.sha3_256(mlkem + shared + ephemeral + public + b"\\.//^\\").digest()


def hpke_key(kem, shared, encapsulated, public):
    suite = b"KEM" + kem.to_bytes(2)
    if kem == XWING:
        secret = shared
    else:
        prk = labeled_extract(suite, b"", b"eae_prk", shared)
        secret = labeled_expand(suite, prk, b"shared_secret", encapsulated + public, 32)
    suite = b"HPKE" + kem.to_bytes(2) + (1).to_bytes(2) + (2).to_bytes(2)
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"")
    context += labeled_extract(suite, b"", b"info_hash", b"cascading-cipher/1 file recipient")
    secret = labeled_extract(suite, secret, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    return AESGCM(key), labeled_expand(suite, secret, b"base_nonce", context, 12)


def wrap(share, kem, public, ephemeral, aad):
    if kem == XWING:  # the ephemeral key is one of X25519; its hash is the randomness of ML-KEM
        secret, ciphertext = ML_KEM_768._encaps_internal(
            public[:-32], hashlib.sha256(ephemeral.private).digest()
        )
        shared = xwing(secret, ephemeral.agree(public[-32:]), ephemeral.public, public[-32:])
        encapsulated = ciphertext + ephemeral.public
    else:
        shared, encapsulated = ephemeral.agree(public), ephemeral.public
    cipher, nonce = hpke_key(kem, shared, encapsulated, public)
    return encapsulated + cipher.encrypt(nonce, share, aad)


def unwrap(body, key, aad):
    encapsulated, ciphertext = body[:-48], body[-48:]
    try:
        if key.kem == XWING:
            secret = ML_KEM_768.decaps(key.mlkem, encapsulated[:-32])
            ephemeral = encapsulated[-32:]
            shared = xwing(secret, key.x25519.agree(ephemeral), ephemeral, key.x25519.public)
        else:
            shared = key.agree(encapsulated)
        cipher, nonce = hpke_key(key.kem, shared, encapsulated, key.public)
        return cipher.decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError):
        return None


# The file


def passphrase_share(passphrase, salt, memory, passes, lanes):
    root = Argon2id(
        salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory
    ).derive(passphrase)
    return hkdf_expand(root, b"cascading-cipher/1 aes password secret")


def root_of(layers, shares):
    return hkdf(b"", shares, b"cascading-cipher/1 file" + bytes([layers]), 32)


def mac_of(root, header):
    return hkdf_expand(root, b"cascading-cipher/1 file header" + header)


def stream_of(root, mac, header):
    """The cipher, the nonce of a chunk, and the commitment."""
    key = hkdf_expand(root, b"cascading-cipher/1 file stream")
    derived = hkdf(header[2:], key, b"cascading-cipher/1 aes stream" + header + mac, 71)
    nonce = lambda i, last: derived[32:39] + i.to_bytes(4) + bytes([last])
    return AESGCM(derived[:32]), nonce, derived[39:]


def encrypt(plaintext, recipients, passphrase, draw, argon2=(19456, 2, 1), extra=()):
    """`draw(n)` gives n bytes that ought to be random; `extra` are stanzas of other types."""
    layers = (1 if recipients else 0) | (2 if passphrase is not None else 0)
    aad = bytes([0, 1, layers])
    stanzas, shares, passphrase_part = [], b"", b""
    if passphrase is not None:
        salt = draw(16)
        memory, passes, lanes = argon2
        stanzas.append((PASSPHRASE, salt + memory.to_bytes(4) + bytes([passes, lanes])))
        passphrase_part = passphrase_share(passphrase, salt, *argon2)
    if recipients:
        share = draw(32)
        stanzas += extra
        for recipient in recipients:
            ephemeral = Key(X25519 if recipient.kem == XWING else recipient.kem, draw(32))
            body = wrap(share, recipient.kem, recipient.public, ephemeral, aad)
            stanzas.append((recipient.kem, body))
        shares = share
    shares += passphrase_part
    header = MAGIC + bytes([0, 1, layers]) + len(stanzas).to_bytes(2)
    for kind, body in stanzas:
        header += kind.to_bytes(2) + len(body).to_bytes(2) + body
    root = root_of(layers, shares)
    mac = mac_of(root, header)
    stream = b"\1\1" + draw(32)
    cipher, nonce, commitment = stream_of(root, mac, stream)
    chunks = [plaintext[i : i + CHUNK] for i in range(0, len(plaintext), CHUNK)] or [b""]
    body = b"".join(
        cipher.encrypt(nonce(i, i == len(chunks) - 1), chunk, None)
        for i, chunk in enumerate(chunks)
    )
    return header + mac + stream + commitment + body


def decrypt(file, keys, passphrase):
    if file.startswith(b"-----BEGIN"):
        file = dearmor(file)
    if file[:8] != MAGIC:
        raise Refused("not a file")
    version, layers, count = int.from_bytes(file[8:10]), file[10], int.from_bytes(file[11:13])
    if version != 1 or layers not in (1, 2, 3):
        raise Refused("newer")
    if not 1 <= count <= 256:
        raise Refused("header")
    at, stanzas = 13, []
    for _ in range(count):
        kind, length = int.from_bytes(file[at : at + 2]), int.from_bytes(file[at + 2 : at + 4])
        if kind >= 0xFF00 and kind != PASSPHRASE:
            raise Refused("newer")
        expected = {X25519: 80, P256: 113, XWING: 1168, PASSPHRASE: 22}.get(kind)
        if length > 4096 or expected not in (None, length):
            raise Refused("header")
        stanzas.append((kind, file[at + 4 : at + 4 + length]))
        at += 4 + length
    if len(file) < at + 32:
        raise Refused("incomplete")
    with_passphrase = stanzas[0][0] == PASSPHRASE
    others = stanzas[1:] if with_passphrase else stanzas
    if (
        with_passphrase != (layers & 2 > 0)
        or bool(others) != (layers & 1 > 0)
        or any(kind == PASSPHRASE for kind, _ in others)
    ):
        raise Refused("header")
    header, mac = file[:at], file[at : at + 32]
    if (layers & 1 > 0) != bool(keys) or with_passphrase != (passphrase is not None):
        raise Refused("no key")
    shares = b""
    if layers & 1:
        tries = (unwrap(body, key, header[8:11]) for key in keys for kind, body in others if kind == key.kem)
        shares = next((share for share in tries if share), None)
        if shares is None:
            raise Refused("no key")
    if with_passphrase:
        body = stanzas[0][1]
        memory, passes, lanes = int.from_bytes(body[16:20]), body[20], body[21]
        if not (19456 <= memory <= 1 << 20 and 2 <= passes <= 16 and 1 <= lanes <= 16):
            raise Refused("header")
        shares += passphrase_share(passphrase, body[:16], memory, passes, lanes)
    root = root_of(layers, shares)
    if not hmac.compare_digest(mac_of(root, header), mac):
        raise Refused("no key" if with_passphrase else "changed")
    stream = file[at + 32 : at + 32 + 66]
    if len(stream) < 66:
        raise Refused("incomplete")
    cipher, nonce, commitment = stream_of(root, mac, stream[:34])
    if stream[:2] != b"\1\1" or not hmac.compare_digest(commitment, stream[34:]):
        raise Refused("changed")
    body = file[at + 98 :]
    chunks = [body[i : i + CHUNK + TAG] for i in range(0, len(body), CHUNK + TAG)] or [b""]
    out = b""
    for i, chunk in enumerate(chunks):
        last = i == len(chunks) - 1
        if len(chunk) < TAG:
            raise Refused("incomplete")
        try:
            out += cipher.decrypt(nonce(i, last), chunk, None)
        except InvalidTag:
            try:
                cipher.decrypt(nonce(i, not last), chunk, None)
            except InvalidTag:
                raise Refused("changed")
            raise Refused("incomplete" if last else "trailing bytes")
        if last and i > 0 and len(chunk) == TAG:
            raise Refused("changed")
    return out


def armor(file):
    text = base64.b64encode(file).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CASCADE FILE-----", *lines, "-----END CASCADE FILE-----", ""])


def dearmor(text):
    lines = text.decode("ascii").replace("\r\n", "\n").rstrip().split("\n")
    if lines[0] != "-----BEGIN CASCADE FILE-----" or lines[-1] != "-----END CASCADE FILE-----":
        raise Refused("armour")
    body = "".join(lines[1:-1])
    file = base64.b64decode(body, validate=True)
    if armor(file).split("\n")[:-1] != lines:
        raise Refused("armour")
    return file


# Test vectors


def make_vectors():
    counter = 0

    def draw(length):
        nonlocal counter
        counter += 1
        return hashlib.sha256(b"cascade file vectors %d" % counter).digest()[:length]

    x, p, y = Key(X25519, draw(32)), Key(P256, draw(32)), Key(X25519, draw(32))
    pattern = bytes(i % 251 for i in range(2 * CHUNK))
    vectors = []

    def add(name, expect, file, keys=(), passphrase=None, plaintext=None, text=None):
        vector = {"name": name, "expect": expect, "identities": [key.text() for key in keys]}
        vector["recipients"] = [key.recipient() for key in keys]
        if passphrase is not None:
            vector["passphrase"] = passphrase.decode()
        if plaintext is not None:
            vector["plaintext_len"] = len(plaintext)
            vector["plaintext_sha256"] = hashlib.sha256(plaintext).hexdigest()
        if text is None:
            vector["file_base64"] = base64.b64encode(file).decode()
        else:
            vector["file_text"] = text
        vectors.append(vector)

    content = b"attack at dawn"
    one = encrypt(content, [x], None, draw)
    add("x25519", "opens", one, [x], None, content)
    add("p256", "opens", encrypt(content, [p], None, draw), [p], None, content)
    several = encrypt(content, [p, y, x], None, draw)
    add("several recipients", "opens", several, [x], None, content)
    secret = encrypt(content, [], b"correct horse", draw)
    add("passphrase", "opens", secret, [], b"correct horse", content)
    both = encrypt(content, [x], b"correct horse", draw)
    add("both layers", "opens", both, [x], b"correct horse", content)
    add("empty", "opens", encrypt(b"", [x], None, draw), [x], None, b"")
    full = encrypt(pattern[:CHUNK], [x], None, draw)
    add("one full chunk", "opens", full, [x], None, pattern[:CHUNK])
    two = encrypt(pattern[: CHUNK + 1], [x], None, draw)
    add("two chunks", "opens", two, [x], None, pattern[: CHUNK + 1])
    future = encrypt(content, [x], None, draw, extra=[(0x1234, draw(32) * 36)])
    add("a recipient of the future", "opens", future, [x], None, content)
    add("armour", "opens", None, [x], None, content, text=armor(one))
    add("armour with CR LF", "opens", None, [x], None, content, text=armor(one).replace("\n", "\r\n"))

    add("another identity", "no key", one, [y])
    add("another passphrase", "no key", secret, [], b"correct horse ")
    add("both layers, no passphrase", "no key", both, [x])
    add("both layers, no identity", "no key", both, [], b"correct horse")
    add("one layer where two are demanded", "no key", one, [x], b"correct horse")
    add("not a file", "not a file", b"age-encryption.org/v1\n", [x])
    add("a line end that was changed", "not a file", one[:4] + b"\n" + one[5:], [x])
    add("version 2", "newer", one[:9] + b"\2" + one[10:], [x])
    add("a layer of the future", "newer", one[:10] + b"\4" + one[11:], [x])
    add("no stanzas", "header", one[:12] + b"\0" + one[13:], [x])
    add("Argon2id out of bounds", "header", secret[:33] + b"\xff" + secret[34:], [], b"correct horse")
    add("a MAC that was changed", "changed", one[:100] + bytes([one[100] ^ 1]) + one[101:], [x])
    added = one[:12] + b"\2" + one[13:97] + b"\x12\x34\0\1x" + one[97:]
    add("a recipient that was added", "changed", added, [x])
    add("a chunk that was changed", "changed", one[:-20] + bytes([one[-20] ^ 1]) + one[-19:], [x])
    add("a header of another file", "changed", one[:129] + full[129:], [x])
    add("cut in the header", "incomplete", one[:60], [x])
    add("cut in the stream header", "incomplete", one[:190], [x])
    add("cut after a chunk", "incomplete", two[:-17], [x])
    add("cut inside of a chunk", "changed", one[:-1], [x])
    add("bytes after the end", "trailing bytes", full + b"x", [x])
    padded = "\n".join(armor(one).split("\n")[:-2])
    add("armour without its end", "incomplete", None, [x], text=padded + "\n")
    add("armour with a long line", "armour", None, [x], text=armor(one).replace("\n", "\r", 2).replace("\r", "\n", 1).replace("\r", ""))
    add("armour after other text", "not a file", None, [x], text="hello\n" + armor(one))

    w, v = Key(XWING, draw(32)), Key(XWING, draw(32))
    hybrid = encrypt(content, [w], None, draw)
    add("hybrid", "opens", hybrid, [w], None, content)
    add("hybrid and classical recipients", "opens", encrypt(content, [x, v, w], None, draw), [w], None, content)
    add("hybrid and a passphrase", "opens", encrypt(content, [w], b"correct horse", draw), [w], b"correct horse", content)
    add("another hybrid identity", "no key", hybrid, [v])
    short = hybrid[:15] + (1167).to_bytes(2) + hybrid[18:]
    add("a hybrid stanza of another length", "header", short, [w])
    flipped = hybrid[:1000] + bytes([hybrid[1000] ^ 1]) + hybrid[1001:]
    add("a hybrid ciphertext that was changed", "no key", flipped, [w])
    return vectors


def file_of(vector):
    if "file_text" in vector:
        return vector["file_text"].encode()
    return base64.b64decode(vector["file_base64"])


def check_halves():
    """Whoever has one half of X-Wing opens nothing; with both halves it opens."""
    key, other = Key(XWING, bytes(range(32))), Key(XWING, bytes(range(1, 33)))
    ephemeral = Key(X25519, bytes(range(2, 34)))
    body = wrap(b"s" * 32, XWING, key.public, ephemeral, b"")
    assert unwrap(body, key, b"") == b"s" * 32
    for half in ("mlkem", "x25519"):
        thief = Key(XWING, other.private)
        setattr(thief, half, getattr(key, half))
        thief.public = key.public
        assert unwrap(body, thief, b"") is None, half
    both = Key(XWING, other.private)
    both.mlkem, both.x25519, both.public = key.mlkem, key.x25519, key.public
    assert unwrap(body, both, b"") == b"s" * 32


def check(vectors):
    check_halves()
    for vector in vectors:
        keys = [Key.from_text(text) for text in vector["identities"]]
        assert [key.recipient() for key in keys] == vector["recipients"], vector["name"]
        passphrase = vector.get("passphrase")
        try:
            out = decrypt(file_of(vector), keys, passphrase.encode() if passphrase else None)
            result = "opens"
            assert len(out) == vector["plaintext_len"], vector["name"]
            assert hashlib.sha256(out).hexdigest() == vector["plaintext_sha256"], vector["name"]
        except Refused as refused:
            result = str(refused)
        # This one does not tell armour that is cut from armour that is wrong.
        same = result == vector["expect"] or (result, vector["expect"]) == ("armour", "incomplete")
        assert same, (vector["name"], result, vector["expect"])
    print(f"{len(vectors)} vectors: as expected", file=sys.stderr)


def main():
    match sys.argv[1:]:
        case ["vectors"]:
            print(json.dumps(make_vectors(), indent=1))
        case ["check", path]:
            check(json.load(open(path)))
        case ["decrypt", path, *passphrase]:
            lines = [line.strip() for line in open(path)]
            keys = [Key.from_text(line) for line in lines if line and not line.startswith("#")]
            word = passphrase[0].encode() if passphrase else None
            sys.stdout.buffer.write(decrypt(sys.stdin.buffer.read(), keys, word))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
