//! What the page has, in its order. A section is shown when its benchmark ran.

/// A part of the page: the tables of one benchmark.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Its name in `benches/Cargo.toml`, or `files`.
    pub(super) bench: &'static str,
    /// What is measured, in whole sentences.
    pub(super) text: &'static str,
    pub(super) tables: &'static [TableOf],
    /// What the benchmark is told.
    pub(super) full: &'static [&'static str],
    pub(super) quick: &'static [&'static str],
}

/// A table of figures.
#[derive(Debug)]
pub(super) struct TableOf {
    /// As the benchmark names it.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What a row is.
    pub(super) rows: &'static str,
    /// Whether ours, the first series, is divided by the others.
    pub(super) ratios: bool,
    /// Whether lines are drawn over the rows.
    pub(super) plot: bool,
}

const fn table(name: &'static str, title: &'static str, rows: &'static str) -> TableOf {
    TableOf { name, title, rows, ratios: true, plot: false }
}

const fn plotted(name: &'static str, title: &'static str, rows: &'static str) -> TableOf {
    TableOf { name, title, rows, ratios: true, plot: true }
}

const fn alone(name: &'static str, title: &'static str, rows: &'static str) -> TableOf {
    TableOf { name, title, rows, ratios: false, plot: false }
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Primitives",
        bench: "primitives",
        text: "The fastest of many rounds. `backend` is `cc-primitives` under a key that is kept, OpenSSL \
               `openssl speed -evp aes-256-gcm`. `AesKey` has a key of its own for each message and 24 random bytes.",
        tables: &[
            plotted("primitives/seal", "Seal", "bytes"),
            table("primitives/open", "Open", "bytes"),
            alone("primitives/stack, seal", "Stacks of AES layers, seal", "bytes"),
            alone("primitives/stack, open", "Stacks of AES layers, open", "bytes"),
            table("primitives/curves", "Curves", "operation"),
        ],
        full: &[],
        quick: &[],
    },
    Section {
        title: "A stack beside openmls alone",
        bench: "cascade",
        text: "100 bytes; X25519, AES-128-GCM and Ed25519 in MLS on both sides; every member has spoken. The stack \
               does all that openmls does and two ciphers more. openmls runs with the layer's own cryptography and its \
               own storage in memory; with the same and no message written; and as it comes.",
        tables: &[
            plotted("cascade/send 100 bytes, all have spoken", "Send 100 bytes", "members"),
            plotted("cascade/receive 100 bytes, all have spoken", "Receive 100 bytes", "members"),
        ],
        full: &["--warm-up-time", "1", "--measurement-time", "3"],
        quick: &["--quick"],
    },
    Section {
        title: "Messages in the MLS layer beside mls-rs and openmls",
        bench: "mls",
        text: "The same ciphersuite, everything written to memory on all sides (`unwritten` writes nothing). Every \
               member has spoken. openmls is left out at 1000, where it takes minutes to join.",
        tables: &[
            plotted("mls/message/send", "Send 100 bytes", "members"),
            plotted("mls/message/receive", "Receive 100 bytes", "members"),
        ],
        full: &[],
        quick: &["--quick"],
    },
    Section {
        title: "Changes in the MLS layer beside mls-rs",
        bench: "changes",
        text: "The two take turns; the fastest of all runs, which other work on the machine disturbs least. Nobody but \
               the founder has committed.",
        tables: &[
            table("changes/make a commit", "Make a commit", "members"),
            plotted("changes/process a commit", "Process a commit", "members"),
            table("changes/join", "Join", "members"),
        ],
        full: &["100", "1000", "5000", "20000"],
        quick: &[],
    },
    Section {
        title: "Adding many at once",
        bench: "adding",
        text: "From key packages in hand until the change is in force and stored, and from the welcome until the last of \
               the joiners has stored the group; time on the processor, one run.",
        tables: &[
            plotted("adding/add", "Add", "members added"),
            plotted("adding/join", "Join", "members added"),
            alone("adding/welcome", "The welcome, with the tree", "members added"),
        ],
        full: &["1000", "5000", "10000"],
        quick: &["100", "1000"],
    },
    Section {
        title: "What updates do for the size of a commit",
        bench: "updates",
        text: "1000 members (100 with `--quick`) added by one commit, then updates of some of them, in the order of `UpdatePolicy`'s turns. \
               The fastest of five runs.",
        tables: &[alone("updates", "A commit of the founder", "members that updated")],
        full: &[],
        quick: &[],
    },
    Section {
        title: "The Double and Triple Ratchet beside vodozemac",
        bench: "signal",
        text: "100 bytes, encrypt and decrypt. Ours encrypts headers and has a post-quantum ratchet beside the classical \
               one, vodozemac has neither.",
        tables: &[
            table("signal/one chain, 100 bytes, encrypt and decrypt", "In one chain", "message"),
            table(
                "signal/ping-pong, 100 bytes, two ratchet steps",
                "A ratchet step in both directions",
                "turn",
            ),
            alone(
                "signal/two exchanges of post-quantum keys, 100 bytes",
                "Two exchanges of post-quantum keys",
                "messages",
            ),
        ],
        full: &[],
        quick: &["--quick"],
    },
    Section {
        title: "The ML-KEM layer",
        bench: "mlkem",
        text: "Keys, messages of a pair, and changes of a group of 100 beside the DH layer's.",
        tables: &[
            alone("mlkem/keys", "Keys", "parameter set"),
            alone(
                "mlkem/pair, there and back, 100 bytes",
                "A pair, there and back, 100 bytes",
                "parameter set",
            ),
            alone("mlkem/group of 100", "A group of 100", "change"),
        ],
        full: &[],
        quick: &["--quick"],
    },
    Section {
        title: "Durable messages beside openmls with SQLite",
        bench: "store",
        text: "DH -> MLS -> AES in `cc-store-sqlite` beside openmls in `openmls_sqlite_storage` (JSON, as in its tests), \
               100 bytes, WAL mode, taking turns. `FULL` waits for the disk with each message, `NORMAL` does not.",
        tables: &[
            table("store/send, FULL", "Send, `synchronous=FULL`", "members"),
            table("store/receive, FULL", "Receive, `synchronous=FULL`", "members"),
            table("store/send, NORMAL", "Send, `synchronous=NORMAL`", "members"),
            table("store/receive, NORMAL", "Receive, `synchronous=NORMAL`", "members"),
            table("store/files, send", "Bytes to files, send", "members"),
            table("store/files, receive", "Bytes to files, receive", "members"),
        ],
        full: &[],
        quick: &["2", "100"],
    },
    Section {
        title: "The client beside its manager",
        bench: "client",
        text: "DH (P-256) -> MLS -> AES, both on `cc-store-sqlite`, each message; the service's time is taken off. Median of the \
               rounds, in which client and manager take turns.",
        tables: &[
            table("client/FULL", "`synchronous=FULL`, which waits for the disk", "what"),
            table("client/NORMAL", "`synchronous=NORMAL`", "what"),
        ],
        full: &[],
        quick: &["messages"],
    },
    Section {
        title: "Files beside age and rage",
        bench: "files",
        text: "`benches/files.sh`: through pipes to /dev/null, from a generator to encrypt and from the page cache to \
               decrypt, taking turns. The best of all rounds; rage where it is installed. Of throughput more is better.",
        tables: &[table("files/encrypt", "Encrypt", ""), table("files/decrypt", "Decrypt", "")],
        full: &[],
        quick: &[],
    },
];
