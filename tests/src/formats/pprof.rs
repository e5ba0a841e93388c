//! Reads a profile of pprof's by profile.proto, and checks that everything that it refers to is there.

use std::collections::HashMap;
use std::io::Read;

use anyhow::{Context, Result, bail};

#[derive(Debug)]
pub struct Profile {
    /// Name and unit.
    pub types: Vec<(String, String)>,
    /// Values, functions from the innermost on, labels.
    pub samples: Vec<String>,
    pub files: Vec<String>,
    /// What is between two events: as a type, and how many.
    pub period: ((String, String), u64),
    pub time: i64,
    pub duration: i64,
}

/// A field's value: a number, or bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> Result<u64> {
        match self {
            Field::Number(number) => Ok(*number),
            Field::Bytes(_) => bail!("bytes in the place of a number"),
        }
    }

    fn bytes(&self) -> Result<&'a [u8]> {
        match self {
            Field::Number(_) => bail!("a number in the place of bytes"),
            Field::Bytes(bytes) => Ok(bytes),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number has no end")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number has more than ten bytes")
}

/// The fields of a message, with their numbers.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let length = varint(&mut bytes)? as usize;
                let (inner, rest) = bytes.split_at_checked(length).context("a field has no end")?;
                bytes = rest;
                Field::Bytes(inner)
            }
            other => bail!("the wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    Ok(fields)
}

/// The number of a message's field; 0 where it is missing.
fn number(message: &[u8], wanted: u64) -> Result<u64> {
    let fields = fields(message)?;
    fields.iter().find(|(field, _)| *field == wanted).map_or(Ok(0), |(_, field)| field.number())
}

fn messages(message: &[u8], wanted: u64) -> Result<Vec<&[u8]>> {
    let fields = fields(message)?;
    fields.iter().filter(|(field, _)| *field == wanted).map(|(_, field)| field.bytes()).collect()
}

fn packed(message: &[u8], wanted: u64) -> Result<Vec<u64>> {
    let mut values = Vec::new();
    for mut bytes in messages(message, wanted)? {
        while !bytes.is_empty() {
            values.push(varint(&mut bytes)?);
        }
    }
    Ok(values)
}

/// Messages by their ids.
fn by_id(profile: &[u8], wanted: u64) -> Result<HashMap<u64, &[u8]>> {
    let mut all = HashMap::new();
    for message in messages(profile, wanted)? {
        let id = number(message, 1)?;
        if id == 0 || all.insert(id, message).is_some() {
            bail!("the id {id} is none, or is there twice");
        }
    }
    Ok(all)
}

pub fn read(packed_profile: &[u8]) -> Result<Profile> {
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(packed_profile).read_to_end(&mut profile).context("no gzip")?;
    let profile = profile.as_slice();
    let strings = messages(profile, 6)?;
    let strings: Vec<&str> = strings.iter().map(|bytes| std::str::from_utf8(bytes)).collect::<Result<_, _>>()?;
    if strings.first() != Some(&"") {
        bail!("the first string is not empty");
    }
    let string = |number: u64| strings.get(number as usize).copied().context("there is no such string");
    let (mappings, locations, functions) = (by_id(profile, 3)?, by_id(profile, 4)?, by_id(profile, 5)?);
    let value_type = |message: &[u8]| -> Result<(String, String)> {
        Ok((string(number(message, 1)?)?.to_string(), string(number(message, 2)?)?.to_string()))
    };
    let types = messages(profile, 1)?.into_iter().map(value_type).collect::<Result<Vec<_>>>()?;
    let period = messages(profile, 11)?.into_iter().next().context("no type of the period")?;
    let period = (value_type(period)?, number(profile, 12)?);
    let mut samples = Vec::new();
    for message in messages(profile, 2)? {
        let values: Vec<i64> = packed(message, 2)?.into_iter().map(|value| value as i64).collect();
        if values.len() != types.len() {
            bail!("a sample has {} values for {} types", values.len(), types.len());
        }
        let mut line = format!("{values:?}");
        for id in packed(message, 1)? {
            let location = locations.get(&id).context("there is no such location")?;
            let mapping = number(location, 2)?;
            if number(location, 3)? == 0 || (mapping != 0 && !mappings.contains_key(&mapping)) {
                bail!("a location has no address, or a mapping that is not there");
            }
            for source in messages(location, 4)? {
                let function = functions.get(&number(source, 1)?).context("there is no such function")?;
                line.push_str(&format!(" {}", string(number(function, 2)?)?));
            }
        }
        for label in messages(message, 3)? {
            let key = string(number(label, 1)?)?;
            match number(label, 2)? {
                0 => line.push_str(&format!(" {key}={}", number(label, 3)? as i64)),
                text => line.push_str(&format!(" {key}={}", string(text)?)),
            }
        }
        samples.push(line);
    }
    let mut files = Vec::new();
    for message in mappings.values() {
        files.push(string(number(message, 5)?)?.to_string());
    }
    let (time, duration) = (number(profile, 9)? as i64, number(profile, 10)? as i64);
    Ok(Profile { types, samples, files, period, time, duration })
}
