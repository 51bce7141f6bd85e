// SPDX-License-Identifier: MIT
#include <clockpage/clockpage.h>
#include <clockpage/wait.h>

const char* clockpage_strerror(int code) {
  switch (code) {
    case CLOCKPAGE_OK:
      return "success";
    case CLOCKPAGE_E_BUSY:
      return "the page changed in every pass: try again";
    case CLOCKPAGE_E_OUT_OF_RANGE:
      return "the counter value is older than the page's history";
    case CLOCKPAGE_E_DISCONTINUITY:
      return "a step of the clock lies between the counter value and now";
    case CLOCKPAGE_E_TAI_UNKNOWN:
      return "the page does not know TAI";
    case CLOCKPAGE_E_REVOKED:
      return "the writer has withdrawn the page";
    case CLOCKPAGE_E_CLOCK:
      return "not one of the five clocks";
    case CLOCKPAGE_E_OVERDUE:
      return "no leased value within the limit: the producer is late or gone";
    case CLOCKPAGE_E_ARGUMENT:
      return "invalid argument";
    case CLOCKPAGE_E_DISRUPTED:
      return "what the counter value means is not known: the view, or one it is composed from, "
             "has changed";
    case CLOCKPAGE_E_SCALE:
      return "on different time scales, or differently smeared: cannot be compared";
    case CLOCKPAGE_E_WIDE:
      return "less certain than the caller allows";
    case CLOCKPAGE_E_TIMEOUT:
      return "the time limit is over";
    case CLOCKPAGE_E_SIZE:
      return "not the size of a clockpage file";
    case CLOCKPAGE_E_MAGIC:
      return "not a clockpage file";
    case CLOCKPAGE_E_VERSION:
      return "another version of the layout";
    case CLOCKPAGE_E_LAYOUT:
      return "damaged: a constant field has an impossible value";
    case CLOCKPAGE_E_COUNTER:
      return "made for another kind of counter than this machine's";
    case CLOCKPAGE_E_STALE:
      return "of an earlier boot, of another machine, or of another region";
    case CLOCKPAGE_E_SYSTEM:
      return "a system call failed";
    case CLOCKPAGE_E_VIEW:
      return "the view cannot be read through: the host has withdrawn it, or it asks for what this "
             "version or reader cannot do";
    case CLOCKPAGE_E_UNSEALED:
      return "not sealed: its owner could truncate it under its readers";
    default:
      return "unknown error";
  }
}
