//! Where a value stands. The steps to it are kept, and only written out when somebody is told of the place: a list
//! below a long key must not cost that key once an item.

use std::rc::Rc;

use crate::pointer;

/// A place in a document: the steps from its root.
#[derive(Clone, Debug, Default)]
pub struct Place<'a>(Option<Rc<Step<'a>>>);

#[derive(Debug)]
struct Step<'a> {
    before: Place<'a>,
    name: Name<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Name<'a> {
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The whole document.
    pub fn root() -> Self {
        Self(None)
    }

    /// The place of `key` in the map that is here.
    #[must_use]
    pub fn key(&self, key: &'a str) -> Self {
        self.step(Name::Key(key))
    }

    /// The place of an item of the list that is here.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Name::Item(index))
    }

    fn step(&self, name: Name<'a>) -> Self {
        Self(Some(Rc::new(Step { before: self.clone(), name })))
    }

    /// RFC 6901 pointer.
    pub fn pointer(&self) -> String {
        let mut names = Vec::new();
        let mut here = self;
        while let Some(step) = &here.0 {
            names.push(step.name);
            here = &step.before;
        }
        names.iter().rev().fold(String::new(), |pointer, name| match name {
            Name::Key(key) => pointer::child(&pointer, key),
            Name::Item(index) => pointer::item(&pointer, *index),
        })
    }

    /// As messages name it: `limits.max_total_trials`.
    pub fn path(&self) -> String {
        pointer::dotted(&self.pointer())
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_written_as_pointer_and_as_path() {
        let place = Place::root().key("a/b~c").key("values").item(1);
        assert_eq!(place.pointer(), "/a~1b~0c/values/1");
        assert_eq!(place.path(), "a/b~c.values[1]");
        assert_eq!((Place::root().pointer().as_str(), Place::root().path().as_str()), ("", "the document"));
    }
}
