//! The client for JavaScript, as small as a conversation needs: requests and answers are bytes that the page
//! carries, and the page gives the time.

use std::sync::{Arc, Mutex};

use cc_client::{
    Answer, Client, Command, Event, EventId, GroupId, Input, MemoryService, Now, OperationId,
    Profile, Recipe, Request,
};
use cc_core::store::MemoryStore;
use wasm_bindgen::prelude::*;

/// One person's client.
#[wasm_bindgen]
pub struct Member {
    disk: Arc<Mutex<MemoryStore>>,
    client: Client,
}

#[wasm_bindgen]
impl Member {
    /// With groups of this recipe.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str, recipe: &str) -> Result<Self, JsError> {
        let recipe = Recipe::named(recipe).ok_or_else(|| JsError::new("no such recipe"))?;
        let disk = Arc::new(Mutex::new(MemoryStore::new()));
        let client = Client::create(Arc::clone(&disk), Profile::new(name), recipe)?;
        Ok(Self { disk, client })
    }

    /// The page is closed and opened again.
    pub fn reopen(&mut self) -> Result<(), JsError> {
        self.client = Client::open(Arc::clone(&self.disk))?;
        Ok(())
    }

    pub fn found(&mut self, title: &str) -> Result<Vec<u8>, JsError> {
        Ok(self.client.found(title)?.as_bytes().to_vec())
    }

    pub fn key_package(&mut self, wall: u64, mono: u64) -> Result<Vec<u8>, JsError> {
        let packages = self.client.key_packages(Now { wall, mono }, 1)?;
        packages.into_iter().next().ok_or_else(|| JsError::new("no key package"))
    }

    pub fn invite(&mut self, group: &[u8], package: &[u8]) -> Result<(), JsError> {
        self.client.invite(group_id(group)?, package)?;
        Ok(())
    }

    pub fn send(&mut self, group: &[u8], text: &str) -> Result<(), JsError> {
        self.client.send(group_id(group)?, text)?;
        Ok(())
    }

    /// Renews this member's keys.
    pub fn refresh(&mut self, group: &[u8]) -> Result<(), JsError> {
        let command = Command::Refresh(group_id(group)?);
        self.client.submit(OperationId::random()?, command)?;
        Ok(())
    }

    /// The next request for the service, if there is one now.
    pub fn request(&mut self, wall: u64, mono: u64) -> Result<Option<Vec<u8>>, JsError> {
        let request = self.client.poll_request(Now { wall, mono })?;
        Ok(request.map(|request| request.to_bytes()).transpose()?)
    }

    /// Takes the service's answer.
    pub fn answer(&mut self, wall: u64, mono: u64, answer: &[u8]) -> Result<(), JsError> {
        let Answer { id, result } = Answer::from_bytes(answer)?;
        let _ledger = self.client.handle(Now { wall, mono }, Input::Response { id, result })?;
        Ok(())
    }

    /// The messages that came since the last call, each as `name: text`.
    pub fn messages(&mut self) -> Result<Vec<String>, JsError> {
        let events = self.client.events(EventId(0), usize::MAX)?;
        if let Some((last, _)) = events.last() {
            self.client.acknowledge(*last, &[])?;
        }
        let texts = events.iter().filter_map(|(_, event)| match event {
            Event::Message { from, content, .. } => {
                Some(format!("{}: {}", from.name(), String::from_utf8_lossy(content)))
            }
            _ => None,
        });
        Ok(texts.collect())
    }

    /// In which epoch of the group this member is, and what it must have in common with the others.
    pub fn epoch(&self, group: &[u8]) -> Result<String, JsError> {
        let view = self.client.group(&group_id(group)?)?;
        Ok(format!("{:?} {:?}", view.epoch, view.authenticator))
    }
}

/// A delivery service in memory.
#[wasm_bindgen]
#[derive(Default)]
pub struct Service(MemoryService);

#[wasm_bindgen]
impl Service {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does what a request says; gives the answer.
    pub fn perform(&mut self, request: &[u8]) -> Result<Vec<u8>, JsError> {
        let request = Request::from_bytes(request)?;
        let result = request.perform(&mut self.0);
        Ok(Answer { id: request.id, result }.to_bytes()?)
    }
}

fn group_id(bytes: &[u8]) -> Result<GroupId, JsError> {
    let bytes = bytes.try_into().map_err(|_| JsError::new("a group's id has 32 bytes"))?;
    Ok(GroupId::from_bytes(bytes))
}
