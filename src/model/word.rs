//! Words of the API, each of which stands for a value.

/// Declares an enum whose values are words of the API.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// The words of the API, and what they stand for.
            pub const WORDS: [(&str, Self); [$($word),+].len()] = [$(($word, Self::$variant)),+];

            /// The word of the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}
pub(crate) use words;

/// Declares an enum whose values are words of the API, which are its text and its JSON too.
macro_rules! word_enum {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        words! {
            $(#[$about])*
            #[derive(Hash, serde::Serialize, serde::Deserialize)]
            $name { $($(#[$doc])* #[serde(rename = $word)] $variant = $word,)+ }
        }
    };
}
pub(crate) use word_enum;
