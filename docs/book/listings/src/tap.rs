//! A layer that encrypts nothing and remembers what passes: to look at a message between two layers.

use std::sync::{Arc, Mutex, PoisonError};

use cc_core::{Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties};

/// What passed a tap last.
#[derive(Clone, Default)]
pub(crate) struct Passed(Arc<Mutex<Vec<u8>>>);

impl Passed {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) struct Tap {
    number: u8,
    passed: Passed,
}

impl Tap {
    pub(crate) fn new(number: u8) -> (Self, Passed) {
        let passed = Passed::default();
        (Self { number, passed: passed.clone() }, passed)
    }

    fn remember(&self, buffer: &Buffer) {
        *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner) = buffer.as_slice().to_vec();
    }
}

impl CipherLayer for Tap {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "book.tap", version: 1, parameters: vec![self.number] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("a tap, which protects nothing")
    }

    fn seal(&mut self, _: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        self.remember(buffer);
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, buffer: &mut Buffer) -> Result<Opened, LayerError> {
        self.remember(buffer);
        Ok(Opened::default())
    }
}
