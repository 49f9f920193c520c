//! The loop around the client, and the shortest commands.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(crate) mod blocking;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

use crate::{Client, Command, DeliveryService, Fault, GroupId, Input, Now, OperationId};

/// Does everything that the client wants of the network now, and gives when to come back, in the
/// caller's `mono` milliseconds.
///
/// # Errors
/// [`Fault`] of the client. What the network does not do is tried again by itself.
pub fn turn<D: DeliveryService + ?Sized>(
    client: &mut Client,
    service: &mut D,
    now: Now,
) -> Result<Option<u64>, Fault> {
    while let Some(request) = client.poll_request(now)? {
        let result = request.perform(service);
        let _ledger = client.handle(now, Input::Response { id: request.id, result })?;
    }
    Ok(client.poll_timeout())
}

impl Client {
    /// Founds a group of this name, with this person in it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn found(&mut self, title: impl Into<String>) -> Result<GroupId, Fault> {
        let group = GroupId::random()?;
        self.submit(OperationId::random()?, Command::Found { group, title: title.into() })?;
        Ok(group)
    }

    /// Adds who made this key package, as soon as the group is caught up with.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn invite(
        &mut self,
        group: GroupId,
        key_package: impl AsRef<[u8]>,
    ) -> Result<OperationId, Fault> {
        let id = OperationId::random()?;
        let packages = vec![key_package.as_ref().to_vec()];
        self.submit(id, Command::Add { group, packages })?;
        Ok(id)
    }

    /// Sends a message, as soon as the group is caught up with. When this returns the text is durable: it goes
    /// out whatever happens, and once. It is sealed, and its bytes are durable, when
    /// [`poll_request`](Self::poll_request) or [`turn`] hands it out.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn send(
        &mut self,
        group: GroupId,
        content: impl AsRef<[u8]>,
    ) -> Result<OperationId, Fault> {
        let id = OperationId::random()?;
        self.submit(id, Command::Send { group, content: content.as_ref().to_vec() })?;
        Ok(id)
    }

    /// Sends a message, and does at once what the network is to do for it. Durable before it goes out, as by
    /// [`send`](Self::send) and [`turn`], in fewer commits of the store: the text and the sealed bytes are one,
    /// and what the log shows of it is another.
    ///
    /// # Errors
    /// As [`submit`](Self::submit). A message that the network did not take is sent later.
    pub fn send_now<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
        now: Now,
        group: GroupId,
        content: impl AsRef<[u8]>,
    ) -> Result<OperationId, Fault> {
        let id = OperationId::random()?;
        let command = Command::Send { group, content: content.as_ref().to_vec() };
        if let Some(request) = self.submit_and_poll(now, id, command)? {
            let result = request.perform(service);
            let _ledger = self.handle(now, Input::Response { id: request.id, result })?;
            turn(self, service, now)?;
        }
        Ok(id)
    }
}
