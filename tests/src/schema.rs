//! Checks lines of JSON against a schema of `docs/`. Knows the words of JSON Schema that this file uses, and refuses
//! all others, so that nothing in it goes unchecked.

use std::path::Path;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde_json::{Map, Value};

/// The schema of what `-f json` writes, from the root of the checkout.
pub const OUTPUT: &str = "docs/output.schema.json";

/// That of what `--message-format json` writes.
pub const MESSAGES: &str = "docs/messages.schema.json";

pub struct Schema(Value);

impl Schema {
    pub fn read(root: &Path, place: &str) -> Result<Schema> {
        let path = root.join(place);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Schema(serde_json::from_str(&text).with_context(|| place.to_string())?))
    }

    /// Each line is an object that the schema allows.
    pub fn check(&self, output: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(output).context("the output is no UTF-8")?;
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
            self.matches(&self.0, &value).with_context(|| format!("not by the schema: {line}"))?;
        }
        Ok(())
    }

    fn matches(&self, schema: &Value, value: &Value) -> Result<()> {
        let rules = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => bail!("nothing may be here, and {value} is"),
            schema => schema.as_object().context("a schema is an object")?,
        };
        for (word, rule) in rules {
            match word.as_str() {
                "$schema" | "$defs" | "title" | "description" => {}
                "$ref" => self.matches(self.definition(rule)?, value)?,
                "oneOf" | "anyOf" => {
                    let choices = rule.as_array().context("choices are a list")?;
                    let fitting = choices.iter().filter(|choice| self.matches(choice, value).is_ok()).count();
                    if fitting == 0 || (word == "oneOf" && fitting > 1) {
                        bail!("{fitting} of {} choices fit {value}", choices.len());
                    }
                }
                "const" if rule == value => {}
                "enum" if rule.as_array().is_some_and(|choices| choices.contains(value)) => {}
                "const" | "enum" => bail!("{value} is not {rule}"),
                "type" if has_type(rule, value)? => {}
                "type" => bail!("{value} is no {rule}"),
                "pattern" => {
                    if let Some(text) = value.as_str()
                        && !Regex::new(rule.as_str().context("a pattern is a text")?)?.is_match(text)
                    {
                        bail!("{value} does not match {rule}");
                    }
                }
                "minimum" | "maximum" => {
                    let limit = rule.as_i64().context("a limit is a number")?;
                    let is_beyond = |number: i64| if word == "minimum" { number < limit } else { number > limit };
                    if value.is_number() && value.as_i64().is_none_or(is_beyond) {
                        bail!("{value} is beyond {limit}");
                    }
                }
                "items" => value.as_array().into_iter().flatten().try_for_each(|item| self.matches(rule, item))?,
                "properties"
                | "required"
                | "additionalProperties"
                | "propertyNames"
                | "minProperties"
                | "maxProperties" => {
                    if let Some(object) = value.as_object() {
                        self.object(word, rule, rules, object)?;
                    }
                }
                other => bail!("the checker does not know the word {other}"),
            }
        }
        Ok(())
    }

    fn object(&self, word: &str, rule: &Value, rules: &Map<String, Value>, object: &Map<String, Value>) -> Result<()> {
        let names = || rule.as_array().into_iter().flatten().filter_map(Value::as_str);
        let limit = || rule.as_u64().context("a limit is a number");
        match word {
            "properties" => {
                for (name, rule) in rule.as_object().context("properties are an object")? {
                    if let Some(value) = object.get(name) {
                        self.matches(rule, value).with_context(|| name.clone())?;
                    }
                }
            }
            "required" => {
                if let Some(missing) = names().find(|name| !object.contains_key(*name)) {
                    bail!("{missing} is missing");
                }
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, value) in object.iter().filter(|(name, _)| !known.is_some_and(|all| all.contains_key(*name)))
                {
                    self.matches(rule, value).with_context(|| name.clone())?;
                }
            }
            "propertyNames" => {
                object.keys().try_for_each(|name| self.matches(rule, &Value::String(name.clone())))?;
            }
            "minProperties" if (object.len() as u64) < limit()? => bail!("too few properties"),
            "maxProperties" if object.len() as u64 > limit()? => bail!("too many properties"),
            _ => {}
        }
        Ok(())
    }

    fn definition(&self, name: &Value) -> Result<&Value> {
        let name = name.as_str().and_then(|name| name.strip_prefix("#/$defs/")).context("a reference into $defs")?;
        self.0["$defs"].get(name).with_context(|| format!("there is no definition {name}"))
    }
}

fn has_type(rule: &Value, value: &Value) -> Result<bool> {
    Ok(match rule.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        // Most readers keep numbers as doubles: what these do not hold comes to them as another number.
        Some("integer") => {
            let number = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
            number.is_some_and(|number| number as f64 as i128 == number)
        }
        _ => bail!("the checker does not know the type {rule}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_by_the_schema_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let schema = Schema::read(&root, OUTPUT).expect("the schema is there");
        for good in [
            r#"{"type":"printf","data":"x\n"}"#,
            r#"{"type":"map","data":{"@":{"a,1":5}}}"#,
            r#"{"type":"map","data":{"@":"9007199254740993"}}"#,
            r#"{"type":"stats","data":{"@x":{"k":{"count":1,"average":2,"total":2}}}}"#,
            r#"{"type":"runtime_error","msg":"m","count":2,"total":true,"filename":"f","line":1,"col":1}"#,
        ] {
            schema.check(good.as_bytes()).expect(good);
        }
        for wrong in [
            r#"{"type":"printf"}"#,
            r#"{"type":"printf","data":5}"#,
            r#"{"type":"other","data":"x"}"#,
            r#"{"type":"map","data":{"x":5}}"#,
            r#"{"type":"map","data":{"@x":5,"@y":6}}"#,
            r#"{"type":"map","data":{"@x":9007199254740993}}"#,
            r#"{"type":"map","data":{"@x":1.5}}"#,
            r#"{"type":"hist","data":{"@x":[{"min":1}]}}"#,
            r#"{"type":"quantiles","data":{"@x":{"count":1,"q50":1}}}"#,
            r#"{"type":"tseries","data":{"@x":[{"interval_start":"now","value":1}]}}"#,
            r#"{"type":"errorf","msg":"m","filename":"f","line":0,"col":1}"#,
            r#"{"type":"printf","data":"x""#,
            "{\"type\":\"printf\",\"data\":\"\n\"}",
        ] {
            assert!(schema.check(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(schema.check(b"{\"type\":\"printf\",\"data\":\"\xff\"}").is_err());
    }
}
