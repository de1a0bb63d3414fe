'use strict';
/*
 * The programs that the tests need beside Node: real servers and the tools that break networks. Where the system's packages may be
 * installed (root, apt-get), what is missing is installed; elsewhere it is said, and the tests that need it skip with that reason.
 */
var childProcess = require('child_process');
var fs = require('fs');
var path = require('path');

/** Where Debian keeps what it does not put on the PATH of everybody. */
var FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
var PATIENCE_MS = 8 * 60 * 1000;
/** By Debian's package, a program on the PATH or a folder that tells whether it is there. */
var testsNeed = JSON.parse(fs.readFileSync(path.join(__dirname, 'servers.json'), 'utf8'));

function missing(needed) {
  var folders = (process.env.PATH || '').split(path.delimiter).concat(FOLDERS);
  return needed.filter(function (one) {
    if (one.folder) return !fs.existsSync(one.folder);
    return !folders.some(function (folder) {
      return fs.existsSync(path.join(folder, one.program));
    });
  });
}

/** Calls back when all is there that can be had of what is needed (default: what the tests need). Never fails: a test that lacks its server says so itself. */
function ensureServers(say, done, needed) {
  var names = missing(needed || testsNeed).map(function (one) {
    return one.package;
  });
  if (names.length === 0) return done();
  var mayInstall = process.platform === 'linux' && process.getuid() === 0 && hasApt();
  if (!mayInstall) {
    say('tests that need these Debian packages will be skipped: ' + names.join(', '));
    return done();
  }
  say('installing for the tests: ' + names.join(', ') + ' ...');
  run(['update', '-qq'], function () {
    // Lists of packages that are older than a mirror may still do: what counts is the installation.
    run(['install', '-y', '-qq', '--no-install-recommends'].concat(names), function (code) {
      if (code !== 0) say('apt-get install failed (exit code ' + code + '); its messages are above');
      done();
    });
  });
}

function hasApt() {
  return (process.env.PATH || '').split(path.delimiter).some(function (folder) {
    return fs.existsSync(path.join(folder, 'apt-get'));
  });
}

function run(words, done) {
  var ended = false;
  // A server that its package would start at once would take the port that its users expect it on.
  var environment = Object.assign({}, process.env, { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' });
  var child = childProcess.spawn('apt-get', ['-o', 'DPkg::Lock::Timeout=120'].concat(words), {
    stdio: ['ignore', 2, 2],
    env: environment,
    timeout: PATIENCE_MS,
  });
  function end(code) {
    if (ended) return;
    ended = true;
    done(code);
  }
  child.on('error', function () {
    end(127); // its caller tells
  });
  child.on('exit', function (code, signal) {
    end(code === null ? 'from ' + signal : code);
  });
}

module.exports = { ensureServers: ensureServers };
