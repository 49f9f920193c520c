//! Links, and who asks to join by them.

use std::{path::PathBuf, time::Duration};

use cc_client::{Command, GroupId};

use super::Worker;
use crate::{
    chat::{
        order::{Order, Report},
        pages,
    },
    error::CliError,
    files::output::write_secret,
    talk::{
        commands::join::{ask_line, find_ask, find_request, request_lines},
        link::{InviteLink, link_or_file},
    },
};

/// How long the link of a group is good.
const LINK_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

impl<F: Fn(Report)> Worker<F> {
    pub(super) fn ask_to_invite(&self, group: GroupId, text: &str) -> Result<(), CliError> {
        let link: InviteLink = link_or_file(text)?;
        let title = self.groups.iter().find(|row| row.id == group).map(|row| row.title.clone());
        let lines = vec![
            format!("Invite the device {}", link.member),
            format!("into {}?", title.unwrap_or_default()),
            "Everybody in the group sees that it joins. It reads what is sent from then on, and nothing older.".into(),
        ];
        (self.tell)(Report::Confirm { lines, order: Order::InviteNow { group, link } });
        Ok(())
    }

    pub(super) fn group_link(
        &mut self,
        group: GroupId,
        path: Option<PathBuf>,
    ) -> Result<(), CliError> {
        let link = self.session.join_link(group, LINK_VALIDITY)?.to_string();
        match path {
            Some(path) => {
                write_secret(&path, format!("{link}\n").as_bytes())?;
                self.note(format!("A link by which others ask to join is in {}.", path.display()));
            }
            None => {
                let (title, lines) = ("A link to this group".into(), pages::group_link(&link));
                (self.tell)(Report::Page { title, lines });
            }
        }
        Ok(())
    }

    pub(super) fn requests(&mut self) -> Result<(), CliError> {
        let snapshot = self.session.views()?.snapshot();
        let mut lines = Vec::new();
        for request in self.session.client().join_requests()? {
            lines.extend(request_lines(&snapshot, &request));
        }
        if lines.is_empty() {
            lines.push("Nobody asks. /group-link makes a link by which others can.".into());
        } else {
            lines.extend([
                String::new(),
                "/admit NAME lets somebody in, /decline NAME does not. Names can be chosen: compare the numbers.".into(),
            ]);
        }
        let asks = self.session.client().join_asks()?;
        if !asks.is_empty() {
            lines.extend([String::new(), "You asked, and wait for an answer:".into()]);
            lines.extend(asks.iter().map(ask_line));
            lines.push("/withdraw ID takes it back.".into());
        }
        (self.tell)(Report::Page { title: "Who asks to join".into(), lines });
        Ok(())
    }

    pub(super) fn withdraw(&mut self, which: Option<&str>) -> Result<(), CliError> {
        let ask = find_ask(&mut self.session, which)?;
        self.command(Command::WithdrawJoin(ask.id))?;
        self.note(
            "Withdrawn: who made the link cannot let you in any more, unless you ask again.".into(),
        );
        Ok(())
    }

    pub(super) fn ask_to_answer(&mut self, who: &str, accept: bool) -> Result<(), CliError> {
        let request = find_request(&mut self.session, who)?;
        let snapshot = self.session.views()?.snapshot();
        let mut lines = request_lines(&snapshot, &request);
        lines.push(String::new());
        lines.push(if accept {
            "Let them in? Everybody in the group sees it. They read what is sent from then on, and nothing older.".into()
        } else {
            "Decline? They are told, and cannot ask by the same link again.".into()
        });
        let order = Order::AnswerNow { request: request.id, accept };
        (self.tell)(Report::Confirm { lines, order });
        Ok(())
    }
}
