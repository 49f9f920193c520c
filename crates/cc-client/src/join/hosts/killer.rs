//! Two devices that answer, killed at every step.

use crate::{
    Command, Event, OperationId,
    join::{
        killer::{Blow, Machine, Run},
        tests::{DAY, submit},
    },
    testing::events,
};

/// Both devices answer as soon as they see who asks, the laptop with this, and there is a blow; gives how many steps
/// there were since Carol has asked.
fn play(laptop_accepts: bool, blow: (usize, Blow)) -> usize {
    let [mut phone, mut laptop, mut carol] = ["Alice", "Laptop", "Carol"].map(Machine::new);
    let now = crate::Now { wall: 1_790_000_000_000, mono: 0 };
    let never = (usize::MAX, Blow::After);
    let mut run = Run { service: crate::MemoryService::new(), now, step: 0, blow: never };
    let group = phone.client.found("Dev Team").unwrap();
    let offer = laptop.client.offer_device(now, 1).unwrap();
    submit(&mut phone.client, Command::Link(offer));
    let pass = |run: &mut Run, time: u64| {
        run.now.mono += time;
        run.now.wall += time;
    };
    for _ in 0..6 {
        run.turn(&mut phone);
        run.turn(&mut laptop);
        pass(&mut run, 2_500);
    }
    let link = phone.client.join_link(run.now, group, DAY).unwrap();
    carol.client.ask_to_join(run.now, &link, "hello").unwrap();
    (run.step, run.blow) = (0, blow);
    let answers = [(); 2].map(|()| OperationId::random().unwrap());
    // For some rounds after all is said, in which everybody hears of it.
    let mut after = 0..3;
    for _ in 0..24 {
        run.turn(&mut carol);
        for (at, machine) in [&mut phone, &mut laptop].into_iter().enumerate() {
            run.turn(machine);
            for view in machine.client.join_requests().unwrap() {
                let accept = at == 0 || laptop_accepts;
                let command = if accept { Command::AcceptJoin } else { Command::DeclineJoin };
                machine.client.submit(answers[at], command(view.id)).unwrap();
            }
        }
        pass(&mut run, 6_000);
        let is_open = !carol.client.join_asks().unwrap().is_empty()
            || [&phone, &laptop]
                .iter()
                .any(|host| !host.client.join_requests().unwrap().is_empty());
        if !is_open && after.next().is_none() {
            break;
        }
    }
    let told = events(&mut carol.client);
    let count = |which: fn(&&Event) -> bool| told.iter().filter(which).count();
    let entered = count(|event| matches!(event, Event::Entered { .. }));
    let over =
        count(|event| matches!(event, Event::JoinDeclined { .. } | Event::JoinLapsed { .. }));
    let members = phone.client.group(&group).unwrap();
    // One answer, of which everybody knows.
    assert_eq!(entered + over, 1, "{blow:?}: {told:?}");
    assert!(entered == 1 || !laptop_accepts, "{blow:?}");
    assert_eq!(members.members.len(), 2 + entered, "{blow:?}");
    assert_eq!(laptop.client.group(&group).unwrap().authenticator, members.authenticator);
    if entered == 1 {
        let there = carol.client.group(&group).unwrap();
        assert_eq!(there.authenticator, members.authenticator, "{blow:?}");
    }
    assert!(carol.client.join_asks().unwrap().is_empty());
    for machine in [&phone, &laptop] {
        assert!(machine.client.join_requests().unwrap().is_empty(), "{blow:?}");
        assert_eq!(machine.client.join_links().unwrap().len(), 1, "{blow:?}");
    }
    run.step
}

fn killed_at_every_step(laptop_accepts: bool) {
    let steps = play(laptop_accepts, (usize::MAX, Blow::After)).min(40);
    assert!(steps > 8, "{steps}");
    for blow in [Blow::Before, Blow::Unanswered, Blow::After] {
        for step in 0..steps {
            play(laptop_accepts, (step, blow));
        }
    }
}

#[test]
fn killed_at_every_step_two_devices_give_one_answer() {
    killed_at_every_step(true);
}

#[test]
fn killed_at_every_step_two_devices_that_disagree_give_one_answer() {
    killed_at_every_step(false);
}
