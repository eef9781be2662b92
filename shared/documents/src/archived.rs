//! Which of the things that can be archived a list has.

use vocabulary::Problem;

/// `view` of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArchivedView {
    /// Those that are not archived.
    #[default]
    Active,
    /// Those that are.
    Archived,
    /// Both.
    All,
}

impl ArchivedView {
    const TEXTS: [(&'static str, Self); 3] =
        [("active", Self::Active), ("archived", Self::Archived), ("all", Self::All)];

    /// Reads it; an empty text is for those that are not archived.
    ///
    /// # Errors
    /// 422 for another text.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let found = Self::TEXTS.iter().find(|(known, _)| *known == text).map(|(_, view)| *view);
        found.ok_or_else(|| {
            let message = crate::not_one_of("view", text, &Self::TEXTS.map(|(known, _)| known));
            Problem::invalid("/view", "BadView", message)
        })
    }

    /// Its text.
    pub fn as_str(self) -> &'static str {
        Self::TEXTS.iter().find(|(_, view)| *view == self).map_or("", |(text, _)| text)
    }

    /// Whether it has something that is archived, or is not.
    pub fn has(self, is_archived: bool) -> bool {
        match self {
            Self::Active => !is_archived,
            Self::Archived => is_archived,
            Self::All => true,
        }
    }
}
