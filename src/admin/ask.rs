//! What may be asked: parameters and documents are read strictly, and what is wrong with them is said.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts as Head;
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::model::{BucketName, Key, ObjectId, SiteNumber, Slot, hex};
use crate::site::{Neighbour, Neighbours, Site};
use crate::status::TableKey;

/// Rows of a page where nothing is said, and the most that may be asked for.
const ROWS: usize = 100;
const ROWS_MAX: usize = 1_000;

/// The parameters of a query; an unknown one is refused rather than ignored.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// A JSON document.
#[derive(Debug)]
pub struct Document<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Head, state: &S) -> Result<Self, Error> {
        let read: Result<axum::extract::Query<T>, QueryRejection> = axum::extract::Query::from_request_parts(head, state).await;
        read.map(|query| Self(query.0)).map_err(|err| Error::Bad(err.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let read: Result<axum::Json<T>, JsonRejection> = axum::Json::from_request(request, state).await;
        read.map(|document| Self(document.0)).map_err(|err| Error::Bad(err.body_text()))
    }
}

/// How many rows a page is to have.
pub fn limit(asked: Option<usize>) -> Result<usize, Error> {
    match asked.unwrap_or(ROWS) {
        rows if (1..=ROWS_MAX).contains(&rows) => Ok(rows),
        rows => Err(Error::Bad(format!("limit: found {rows}; allowed: 1 to {ROWS_MAX}"))),
    }
}

/// A row as a page's end and the next one's beginning name it. Only this program reads it.
pub fn cursor(key: &impl TableKey) -> String {
    hex(&key.to_bytes())
}

/// The row that a cursor names.
pub fn after<K: TableKey>(cursor: Option<&str>) -> Result<Option<K>, Error> {
    let Some(text) = cursor else { return Ok(None) };
    let key = unhex(text).and_then(|bytes| K::from_bytes(&bytes));
    key.map(Some).ok_or_else(|| Error::Bad(format!("after: found {text:?}; allowed: the `next` of an earlier answer")))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| digit.try_into().ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A bucket by its name.
pub fn bucket(name: &str) -> Result<BucketName, Error> {
    BucketName::new(name).map_err(|err| Error::Bad(format!("bucket: {err}")))
}

/// An object by its names.
pub fn object(bucket_name: &str, key: &str) -> Result<ObjectId, Error> {
    let key = Key::new(key).map_err(|err| Error::Bad(format!("key: {err}")))?;
    Ok(ObjectId { bucket: bucket(bucket_name)?, key })
}

/// A version of an object: its id, or `null`.
pub fn version(text: &str) -> Result<Slot, Error> {
    match text {
        "null" => Ok(Slot::Null),
        id => id.parse().map(Slot::Version).map_err(|_| Error::Bad(format!("version: {id:?} is no version's id"))),
    }
}

/// Another site by its name.
pub fn neighbour<'n>(neighbours: &'n Neighbours, name: &str) -> Result<&'n Neighbour, Error> {
    let found = neighbours.iter().find(|neighbour| neighbour.id.name == name);
    found.map(|neighbour| &**neighbour).ok_or_else(|| unknown_site(neighbours, name))
}

fn unknown_site(neighbours: &Neighbours, name: &str) -> Error {
    let known: Vec<&str> = neighbours.iter().map(|neighbour| neighbour.id.name.as_str()).collect();
    let known = if known.is_empty() { "none, since this site knows no other".into() } else { known.join(", ") };
    Error::Bad(format!("site: found {name:?}; allowed: {known}"))
}

/// The name of a site that a row speaks of; its number where the settings do not name it any more.
pub fn site_name(site: &Site, number: SiteNumber) -> String {
    if site.id().number == number {
        return site.id().name.clone();
    }
    site.neighbours().get(number).map_or_else(|| format!("#{}", number.0), |neighbour| neighbour.id.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Seq, Unit};

    #[test]
    fn a_cursor_names_its_row_and_nothing_else_is_taken() {
        let key = (SiteNumber(2), Unit::null(&ObjectId::parse("bucket", "a b/ü").unwrap()));
        assert_eq!(after(Some(&cursor(&key))).unwrap(), Some(key));
        assert_eq!(after::<(SiteNumber, Seq)>(None).unwrap(), None);
        for bad in ["", "0", "zz", "00", "ü"] {
            assert!(matches!(after::<(SiteNumber, Seq)>(Some(bad)), Err(Error::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(limit(None).unwrap(), ROWS);
        assert!(limit(Some(0)).is_err() && limit(Some(ROWS_MAX + 1)).is_err());
    }
}
