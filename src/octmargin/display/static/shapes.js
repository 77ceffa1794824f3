// Checks of JSON values against the types that a message declares. Pure.
//
// A shape is a function (value, path) that returns the value or throws ShapeError naming the path.

export class ShapeError extends Error {}

export function refuse(path, expected) {
  throw new ShapeError(`${path || "the message"} is not ${expected}`);
}

export function text(maxChars = Infinity, minChars = 0) {
  return (value, path) => {
    if (typeof value !== "string") refuse(path, "a text");
    if (maxChars < Infinity && value.length > maxChars && [...value].length > maxChars) {
      refuse(path, `a text of at most ${maxChars} characters`);
    }
    if (value.length < minChars) refuse(path, `a text of at least ${minChars} characters`);
    return value;
  };
}

export function bool(value, path) {
  return typeof value === "boolean" ? value : refuse(path, "true or false");
}

export function number(min = -Infinity, max = Infinity) {
  return (value, path) => {
    if (typeof value !== "number" || value < min || value > max) {
      refuse(path, `a number from ${min} to ${max}`);
    }
    return value;
  };
}

export const mm = number(0);
export const fraction = number(0, 1);

export function count(value, path) {
  return Number.isInteger(value) && value >= 0 ? value : refuse(path, "a count");
}

export function oneOf(...words) {
  return (value, path) => (words.includes(value) ? value : refuse(path, `one of ${words.join(", ")}`));
}

export function orNull(shape) {
  return (value, path) => (value === null ? null : shape(value, path));
}

export function list(shape, most = Infinity) {
  return (value, path) => {
    if (!Array.isArray(value)) refuse(path, "a list");
    if (value.length > most) refuse(path, `a list of at most ${most}`);
    return value.map((each) => shape(each, path));
  };
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function anyObject(value, path) {
  return isObject(value) ? value : refuse(path, "an object");
}

export function dictionary(shape) {
  return (value, path) => {
    anyObject(value, path);
    for (const [key, each] of Object.entries(value)) shape(each, `${path}.${key}`);
    return value;
  };
}

const INSTANT = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:?\d\d)$/;

// RFC 3339 to ms of the Unix epoch, with its microseconds as a fraction.
export function instant(value, path) {
  const parts = typeof value === "string" ? INSTANT.exec(value) : null;
  if (parts === null) refuse(path, "an instant");
  const [, date, time, digits = "", zone] = parts;
  const wholeMs = Date.parse(`${date}T${time}${zone.toUpperCase()}`);
  if (Number.isNaN(wholeMs)) refuse(path, "an instant");
  return wholeMs + (digits ? Number(digits.slice(0, 6).padEnd(6, "0")) / 1000 : 0);
}

// An object with `required` fields, and `optional` ones given as [shape, default]. Other fields are dropped.
export function struct(required, optional = {}) {
  const needed = Object.entries(required);
  const others = Object.entries(optional);
  return (value, path) => {
    anyObject(value, path);
    const prefix = path ? `${path}.` : "";
    const result = {};
    for (const [name, shape] of needed) {
      if (!Object.hasOwn(value, name)) refuse(`${prefix}${name}`, "there, and it is needed");
      result[name] = shape(value[name], `${prefix}${name}`);
    }
    for (const [name, [shape, absent]] of others) {
      result[name] = Object.hasOwn(value, name) ? shape(value[name], `${prefix}${name}`) : absent;
    }
    return result;
  };
}
