//! Who may read this site, and as which site: a token proves it.

use crate::model::{SiteNumber, Token};

/// A site that may read this one.
#[derive(Debug)]
pub struct Reader {
    pub number: SiteNumber,
    /// What it must present, which proves that it is this site. `None`: the members' token, and its word.
    pub accept: Option<Token>,
}

/// Everybody who may read this site.
#[derive(Debug)]
pub struct Readers {
    /// The number of this site, which nobody else may have.
    pub own: SiteNumber,
    pub all: Vec<Reader>,
    /// Proves that the reader is one of those without a token of their own.
    pub members: Option<Token>,
}

/// Why somebody may not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token that counts here. Nothing more is said to whoever has none.
    Token,
    /// A token that counts, and something else that is wrong: told, so that a person can mend it.
    Known(String),
}

impl Readers {
    /// Whether whoever presents a token may read as the site it says it is.
    pub fn admit(&self, presented: &str, said: SiteNumber) -> Result<SiteNumber, Denied> {
        let proven = self.all.iter().find(|reader| reader.accept.as_ref().is_some_and(|token| token.is(presented)));
        if let Some(reader) = proven {
            return if reader.number == said { Ok(said) } else { Err(self.another(reader.number, said)) };
        }
        if !self.members.as_ref().is_some_and(|token| token.is(presented)) {
            return Err(Denied::Token);
        }
        match self.all.iter().find(|reader| reader.number == said) {
            Some(Reader { accept: None, .. }) => Ok(said),
            // It has a token of its own, and another member must not speak for it.
            Some(Reader { accept: Some(_), .. }) => Err(Denied::Token),
            None if said == self.own => Err(Denied::Known(format!("both sites have the number {}: each needs its own", said.0))),
            None => Err(Denied::Known(format!("this site knows no site number {}: add it to its settings as [[peer]]", said.0))),
        }
    }

    fn another(&self, proven: SiteNumber, said: SiteNumber) -> Denied {
        let (proven, said) = (proven.0, said.0);
        Denied::Known(format!("the token is that of site number {proven}, and the reader says it is number {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers() -> Readers {
        let reader = |number, accept: Option<&str>| Reader { number: SiteNumber(number), accept: accept.map(Token::new) };
        Readers {
            own: SiteNumber(1),
            all: vec![reader(2, Some("of-two")), reader(3, None)],
            members: Some(Token::new("of-members")),
        }
    }

    fn told(presented: &str, said: u16) -> String {
        match readers().admit(presented, SiteNumber(said)) {
            Err(Denied::Known(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_of_its_own_proves_which_site_reads() {
        assert_eq!(readers().admit("of-two", SiteNumber(2)), Ok(SiteNumber(2)));
        assert!(told("of-two", 3).contains("that of site number 2, and the reader says it is number 3"));
    }

    #[test]
    fn the_token_of_members_speaks_for_those_without_one_of_their_own() {
        assert_eq!(readers().admit("of-members", SiteNumber(3)), Ok(SiteNumber(3)));
        assert_eq!(readers().admit("of-members", SiteNumber(2)), Err(Denied::Token));
        assert!(told("of-members", 1).contains("both sites have the number 1"));
        assert!(told("of-members", 9).contains("knows no site number 9"));
    }

    #[test]
    fn no_other_token_reads_anything() {
        let nobody = Readers { members: None, ..readers() };
        for wrong in ["", "of-tw", "of-members"] {
            assert_eq!(nobody.admit(wrong, SiteNumber(3)), Err(Denied::Token), "{wrong}");
        }
    }
}
