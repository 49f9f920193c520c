//! Two people, or three in a group, on a recommended stack, with their stores.

use std::sync::{Arc, Mutex, atomic::Ordering};

use cc_client::{PairRecipe, Recipe};
use cc_core::{CipherLayer, PairBundle, PairOpening, StackId, store::MemoryStore};
use cc_manager::{CascadingCipherManager, Incoming, IncomingFirst, IncomingWelcome, PairAccount};

use crate::hollow::{Hollow, HollowKeys, Switch};

pub type Shared = Arc<Mutex<MemoryStore>>;

/// The name of every manager in its store.
pub const NAME: &str = "me";

/// The names of all stacks for groups and pairs that are recommended.
pub fn names() -> impl Iterator<Item = &'static str> {
    Recipe::NAMES.into_iter().chain(PairRecipe::NAMES)
}

pub struct World {
    pub alice: CascadingCipherManager,
    pub bob: CascadingCipherManager,
    pub of_alice: Shared,
    pub of_bob: Shared,
    /// In a group, a third member.
    pub of_charlie: Shared,
    /// What all layers authenticate besides the message, and everybody can know.
    pub associated_data: Vec<u8>,
}

impl World {
    /// On the stack of this name, whose layer at `hollow` contributes nothing.
    pub fn new(name: &str, hollow: Option<usize>) -> Self {
        let switch = Switch::default();
        // The others have a switch that nobody turns.
        let switches =
            |at| if hollow == Some(at) { Arc::clone(&switch) } else { Switch::default() };
        let world = match (Recipe::named(name), PairRecipe::named(name)) {
            (Some(recipe), _) => Self::group(&recipe, &switches),
            (_, Some(recipe)) => Self::pair(recipe, &switches),
            _ => panic!("{name}"),
        };
        switch.store(true, Ordering::Relaxed);
        world
    }

    fn group(recipe: &Recipe, hollow: &dyn Fn(usize) -> Switch) -> Self {
        let [of_alice, of_bob, of_charlie] = [(); 3].map(|()| Shared::default());
        let person = |name: &str, founds: Option<&str>, store: &Shared| {
            let layers = recipe.layers(name, founds).unwrap().into_iter().enumerate();
            let layers = layers.map(|(at, inner)| -> Box<dyn CipherLayer> {
                Box::new(Hollow { inner, hollow: hollow(at) })
            });
            let builder = CascadingCipherManager::builder().layers(layers);
            builder.create(Arc::clone(store), NAME).unwrap()
        };
        let mut alice = person("Alice", Some("Dev Team"), &of_alice);
        let mut bob = person("Bob", None, &of_bob);
        let mut charlie = person("Charlie", None, &of_charlie);
        let packages = [&mut bob, &mut charlie].map(|person| person.key_package().unwrap());
        let change = alice.add_members(packages).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        for person in [&mut bob, &mut charlie] {
            let welcome = person.receive_welcome(&welcome).unwrap();
            assert!(matches!(welcome, IncomingWelcome::Joined(_)));
        }
        Self { alice, bob, of_alice, of_bob, of_charlie, associated_data: Vec::new() }
    }

    fn pair(recipe: PairRecipe, hollow: &dyn Fn(usize) -> Switch) -> Self {
        let [of_alice, of_bob, of_charlie] = [(); 3].map(|()| Shared::default());
        let mut descriptors = Vec::new();
        let mut account = |store: &Shared| {
            let keys = recipe.keys().unwrap();
            descriptors = keys.iter().map(|keys| keys.descriptor()).collect();
            let keys = keys.into_iter().enumerate();
            let keys = keys.map(|(at, inner)| HollowKeys { inner, hollow: hollow(at) });
            let builder = keys.fold(PairAccount::builder(), |all, keys| all.keys(keys));
            builder.create(Arc::clone(store), "account").unwrap()
        };
        let (mut from, mut to) = (account(&of_alice), account(&of_bob));
        let bundle = to.one_time_bundle().unwrap();
        let mut alice = from.initiate(&bundle, NAME).unwrap();
        let first = alice.encrypt("first").unwrap();
        let IncomingFirst::Begun(pair) = to.accept_first(&first, NAME).unwrap() else { panic!() };
        let mut bob = pair.manager;
        // The longer messages of a beginning are over.
        for _ in 0..2 {
            let wire = bob.encrypt("answer").unwrap();
            alice.decrypt(&wire).unwrap();
            let wire = alice.encrypt("answer").unwrap();
            bob.decrypt(&wire).unwrap();
        }
        let stack = StackId::of(&descriptors);
        let opening = PairOpening::decode(&first, &stack).unwrap().0;
        let bundle = PairBundle::decode(&bundle, &stack).unwrap();
        let identities = bundle.parts().iter().map(|part| part.identity.as_slice());
        let transcript = opening.transcript(&stack, identities);
        let associated_data = [&b"cascading-cipher/1 pair message"[..], &transcript].concat();
        Self { alice, bob, of_alice, of_bob, of_charlie, associated_data }
    }

    /// Two people without stores, who take turns: for figures.
    pub fn in_memory(name: &str) -> (CascadingCipherManager, CascadingCipherManager) {
        if let Some(recipe) = Recipe::named(name) {
            let person = |name: &str, founds: Option<&str>| {
                let layers = recipe.layers(name, founds).unwrap();
                CascadingCipherManager::builder().layers(layers).build().unwrap()
            };
            let (mut alice, mut bob) = (person("Alice", Some("Dev Team")), person("Bob", None));
            let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
            let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
            bob.receive_welcome(&welcome).unwrap();
            return (alice, bob);
        }
        let recipe = PairRecipe::named(name).unwrap();
        let [mut from, mut to] = [(); 2]
            .map(|()| PairAccount::builder().all_keys(recipe.keys().unwrap()).build().unwrap());
        let mut alice = from.initiate(to.one_time_bundle().unwrap(), "").unwrap();
        let first = alice.encrypt("first").unwrap();
        let IncomingFirst::Begun(pair) = to.accept_first(&first, "").unwrap() else { panic!() };
        let mut bob = pair.manager;
        let answer = bob.encrypt("answer").unwrap();
        alice.decrypt(&answer).unwrap();
        (alice, bob)
    }

    /// The text of Alice's that Bob takes `wire` for.
    pub fn bob_takes(&mut self, wire: &[u8]) -> Option<Vec<u8>> {
        let sender = self.alice.member_id();
        match self.bob.receive(wire).unwrap() {
            Incoming::Message(message)
                if message.sender().is_none() || message.sender() == sender =>
            {
                Some(message.into_bytes())
            }
            _ => None,
        }
    }
}
