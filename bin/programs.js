'use strict';
/*
 * Where the bundled programs lie (cli/programs/programs.ts makes them), as long as not one file that went in has changed since.
 * Written in the syntax of 2009, like all that runs on whatever Node there is.
 */
var childProcess = require('child_process');
var fs = require('fs');
var path = require('path');

/** A builder that hangs must not keep the command from running. */
var BUILD_MS_MAX = 60000;

/** The folder of the current bundles, made if need be; null when the sources have to do. */
function findPrograms(project, node) {
  var root = path.join(project, 'build', 'programs');
  var builder = path.join(project, 'cli', 'programs', 'main.ts');
  var found = current(project, root);
  if (found || !node || !fs.existsSync(builder) || !isWritable(project)) return found;
  // Its messages would be about Holdfast's own source; running that says the same in the right place.
  childProcess.spawnSync(node, [builder], { stdio: 'ignore', timeout: BUILD_MS_MAX, cwd: project });
  return current(project, root);
}

function current(project, root) {
  try {
    var record = JSON.parse(fs.readFileSync(path.join(root, 'current.json'), 'utf8'));
    for (var index = 0; index < record.inputs.length; index++) {
      var input = record.inputs[index];
      var now = fs.statSync(path.join(project, input[0]));
      if (now.size !== input[1] || now.mtimeMs !== input[2] || now.ctimeMs !== input[3]) return null;
    }
    var folder = path.join(root, record.id);
    return fs.existsSync(path.join(folder, 'holdfast.js')) ? folder : null;
  } catch (error) {
    return null; // never made, or a source is gone
  }
}

function isWritable(project) {
  try {
    fs.mkdirSync(path.join(project, 'build'), { recursive: true });
    fs.accessSync(path.join(project, 'build'), fs.constants.W_OK);
    return true;
  } catch (error) {
    return false; // somebody else's installation: not ours to write to
  }
}

module.exports = { findPrograms: findPrograms };
