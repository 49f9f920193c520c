//! Limits on everything that is read from bytes, checked before anything is allocated or derived.

/// Layers in one stack.
pub const MAX_LAYERS: usize = 16;
/// Bytes of one hint.
pub const MAX_HINT_LEN: usize = 64;
/// Bytes of a plaintext and of a wire message: 256 MiB. Larger data goes through a stream.
pub const MAX_MESSAGE_LEN: usize = 256 << 20;
/// Bytes of one part of a bundle, welcome or commit: 64 MiB.
pub const MAX_PART_LEN: usize = 64 << 20;
/// Bytes of a key package bundle: 64 KiB.
pub const MAX_KEY_PACKAGE_LEN: usize = 64 << 10;
/// Members that one change may add or remove, and members of one group.
pub const MAX_MEMBERS: usize = 1 << 16;
