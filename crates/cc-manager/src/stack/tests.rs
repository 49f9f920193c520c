//! What a stack keeps from one message to the next.

use alloc::{boxed::Box, vec};

use cc_core::{Opened, Properties, Secret};

use super::*;

/// Contributes a secret of this byte, under the byte as the hint, and encrypts nothing.
struct Contributing(u8);

impl CipherLayer for Contributing {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.contributing", version: 1, parameters: Vec::new() }
    }

    fn properties(&self) -> Properties {
        Properties { contributes: true, ..Properties::plain("contributing") }
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        let secret = Secret::copy_from(&[self.0; 32]).ok_or_else(LayerError::rejected)?;
        Ok(Some(Contribution { hint: vec![self.0], secret }))
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let own = self.contribute()?.filter(|own| own.hint == hint);
        own.map(|own| Recalled { secret: own.secret, epoch: None }).ok_or_else(LayerError::rejected)
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        Ok(Opened::default())
    }
}

fn stack() -> Stack {
    let layer: Box<dyn CipherLayer> = Box::new(Contributing(7));
    Stack::new(Layers::new([layer]).unwrap())
}

fn seal(stack: &mut Stack) -> Vec<u8> {
    stack.seal(Kind::Application, b"text", b"", &mut Reports::new(None)).unwrap()
}

fn open(stack: &mut Stack, wire: &[u8]) -> Result<OpenedMessage, Error> {
    stack.open(Kind::Application, wire, b"", &mut Reports::new(None))
}

#[test]
fn no_secret_is_kept_where_an_epoch_may_have_ended() {
    let mut stack = stack();
    let wire = seal(&mut stack);
    assert!(!stack.cascade.is_empty());
    // Whatever comes of it.
    assert!(stack.call_group(0, |_| Ok(())).is_err(), "it is no group layer");
    assert!(stack.cascade.is_empty());
    open(&mut stack, &wire).unwrap();
    assert!(!stack.cascade.is_empty());
    stack.change(0, |_| Ok(())).unwrap();
    assert!(stack.cascade.is_empty());
    open(&mut stack, &wire).unwrap();
    assert!(!stack.cascade.is_empty());
    let composition = Composition::of(stack.layers().iter());
    stack.reshape(composition, |_| ());
    assert!(stack.cascade.is_empty() && stack.front.is_none());
}

#[test]
fn a_message_that_does_not_open_leaves_nothing_of_its_own() {
    let mut stack = stack();
    let wire = seal(&mut stack);
    let hint = 3 + StackId::WIRE_LEN + 4;
    assert_eq!(wire[hint], 7);
    let mut other = wire.clone();
    other[hint] = 8;
    for _ in 0..2 {
        assert!(open(&mut stack, &other).is_err());
        assert!(stack.cascade.is_empty());
        assert_eq!(open(&mut stack, &wire).unwrap().buffer.as_slice(), b"text");
        assert_eq!(seal(&mut stack), wire);
    }
    // With associated data nothing but the binding differs.
    let bound = stack.seal(Kind::Application, b"text", b"data", &mut Reports::new(None));
    assert_eq!(bound.unwrap(), wire);
}
