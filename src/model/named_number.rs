//! Kernel numbers that have names in the API.

/// Implements the conversions of an enum of kernel numbers: to and from the number, to and from
/// text, and serde as text. A number without a name is its variant `Other`, written in decimal.
macro_rules! named_numbers {
    ($type:ident: $repr:ty, $what:literal, $($variant:ident = $number:literal $name:literal),+) => {
        impl $type {
            /// The kernel's number.
            pub fn number(self) -> $repr {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// The name; `None` for [`Self::Other`].
            #[inline]
            pub(crate) fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)+
                    Self::Other(_) => None,
                }
            }
        }

        impl From<$repr> for $type {
            #[inline]
            fn from(number: $repr) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}", self.number()),
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = super::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => text.parse().map(Self::Other).map_err(|_| {
                        super::Error::invalid("", format!(concat!("{:?} is not ", $what), text))
                    }),
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.name() {
                    Some(name) => serializer.serialize_str(name),
                    None => serializer.collect_str(self),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use named_numbers;
