//! Signal layer for Cascading Cipher: X3DH, PQXDH, Double Ratchet and Sender Keys.
